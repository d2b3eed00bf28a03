"""The named tasks: one yaml each in configs/task/, which says where every source keeps the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry import config_file, options
from fusion_pipeline.tasks.names import is_safe
from fusion_pipeline.tasks.spec import SPLITS, TaskSpec

GROUP = "task"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class HubPlace:
    """Where and how the hub keeps a task.

    Args:
        id: Repository id.
        config: Configuration of the repository.
        revision: Branch, tag or commit; None for the newest.
        text: Column of the text, likewise `text_pair` and `label`.
        labels: The hub's word or number for a class → our name, where they differ.
        unlabelled: The label of rows without one; they are left out.
        splits: Our split → the hub's.
        notes: What a person should know about these splits.
    """

    id: str
    config: str | None = None
    revision: str | None = None
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int | None = None
    splits: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for split in self.splits or {}:
            if split not in SPLITS:
                raise PipelineError(
                    f"unknown split '{split}'", where=self.id, hint=did_you_mean(split, SPLITS)
                )
        object.__setattr__(self, "labels", {str(key): str(name) for key, name in self.labels.items()})
        object.__setattr__(self, "notes", tuple(self.notes))


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """A named task: `embedded` is its name in the embedded corpus, `local` its folder below data.root.

    Type, classes and metric are for the hub: the corpus and a folder's dataset.json say them for themselves.
    """

    name: str
    type: str
    labels: tuple[str, ...] | None = None
    metric: str
    embedded: str | None = None
    local: str | None = None
    hub: HubPlace | None = None

    def __post_init__(self) -> None:
        if self.hub is not None:
            spec = TaskSpec(name=self.name, type=self.type, labels=self.labels, metric=self.metric)
            object.__setattr__(self, "labels", spec.labels)

    @property
    def sources(self) -> dict[str, str]:
        """Source → what to set for it, for messages."""
        there = {}
        if self.embedded:
            there["embedded"] = "data=embedded"
        if self.local:
            there["local"] = f"data=local data.root=DIR (reads DIR/{self.local})"
        if self.hub:
            there["hub"] = f"data=hub (reads {self.hub.id})"
        return there


def entry_names() -> tuple[str, ...]:
    """Names of all tasks with a yaml, installed or in a person's own --config-dir."""
    return tuple(options(GROUP))


def find_entry(name: str) -> TaskEntry | None:
    """The named task, or None."""
    return read_entry(config_file(GROUP, name)) if is_safe(name) and name in entry_names() else None


def read_entry(path: Path) -> TaskEntry:
    """Reads one task yaml."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PipelineError(f"the task file cannot be read: {error}", where=str(path)) from error
    hub = values.pop("hub", None) if isinstance(values, dict) else None
    place = _build(HubPlace, hub, path) if hub is not None else None
    return _build(TaskEntry, {"name": path.stem, **_mapping(values, path), "hub": place}, path)


def _build(kind: type[T], values: Any, path: Path) -> T:
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for key in _mapping(values, path):
        if key not in known:
            raise PipelineError(f"unknown key '{key}'", where=str(path), hint=did_you_mean(str(key), known))
    try:
        return kind(**values)
    except TypeError as error:
        raise PipelineError(f"the task file is not complete: {error}", where=str(path)) from error


def _mapping(values: Any, path: Path) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise PipelineError("a task file holds keys and values", where=str(path))
    return values
