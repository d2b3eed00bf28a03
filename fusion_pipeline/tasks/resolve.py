"""From a plain value (`task=...`) to the source that holds it; one source never stands in for another."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.card import FILE_NAME
from fusion_pipeline.tasks.catalog import HubPlace, TaskEntry, entry_names, find_entry
from fusion_pipeline.tasks.names import is_safe, safe_name
from fusion_pipeline.tasks.raw import RawTask
from fusion_pipeline.tasks.source_embedded import EmbeddedSource
from fusion_pipeline.tasks.source_file import FileSource
from fusion_pipeline.tasks.source_folder import FolderSource
from fusion_pipeline.tasks.source_hub import HubIdSource, HubSource
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec
from fusion_pipeline.tasks.table import file_format

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Source(Protocol):
    """A place that holds one task."""

    @property
    def name(self) -> str:
        """The task's name."""
        ...

    @property
    def takes_columns(self) -> bool:
        """Whether columns.* may say which columns to read."""
        ...

    def read(self, columns: ColumnsSpec) -> RawTask:
        """The task's tables."""
        ...


def resolve(value: str, data: DataSpec) -> Source:
    """Finds the source of a task value, without reading its rows.

    Args:
        value: A name, the path of a dataset folder or data file, or (data=hub) a hub id.
        data: Where named tasks come from.
    """
    if not isinstance(value, str) or not value.strip():
        raise PipelineError(f"{value!r} names no task", where="task", hint="a name, a folder, or a data file")
    found = _named(value, data)
    if found is not None:
        return found
    if is_safe(value):
        return _bare_folder(value, data)
    return _path(value, data)


def task_name(value: str, data: DataSpec) -> str:
    """The name that a task value stands for, without reading its rows."""
    return resolve(value, data).name


def known_tasks(data: DataSpec) -> list[str]:
    """All task names that a source knows."""
    entries = [entry for name in entry_names() if (entry := find_entry(name)) is not None]
    if data.source == "embedded":
        from fusion_pipeline.tasks.embedded import TASKS

        return sorted({*TASKS, *(entry.name for entry in entries if entry.embedded)})
    if data.source == "hub":
        return sorted(entry.name for entry in entries if entry.hub)
    root = _root(data)
    folders = {path.parent.name for path in root.glob(f"*/{FILE_NAME}")}
    return sorted(folders | {entry.name for entry in entries if entry.local in folders})


def _named(value: str, data: DataSpec) -> Source | None:
    entry = find_entry(value)
    if data.source == "embedded":
        return _embedded(value, entry)
    if data.source == "local":
        return _local(value, entry, data)
    if entry is not None and entry.hub is not None:
        revision = data.revision or entry.hub.revision
        if data.config is not None:
            raise PipelineError(
                "data.config goes with a hub id; the yaml of a named task sets it", where="data.config"
            )
        return HubSource(entry=entry, place=replace(entry.hub, revision=revision), root=data.root)
    if _HUB_ID.fullmatch(value) and not Path(value).exists() and file_format(Path(value)) is None:
        return HubIdSource(
            place=HubPlace(id=value, config=data.config, revision=data.revision), root=data.root
        )
    return None


def _embedded(value: str, entry: TaskEntry | None) -> Source | None:
    from fusion_pipeline.tasks.embedded import TASKS

    corpus_name = entry.embedded if entry is not None and entry.embedded else value
    return EmbeddedSource(name=value, corpus_name=corpus_name) if corpus_name in TASKS else None


def _local(value: str, entry: TaskEntry | None, data: DataSpec) -> Source | None:
    if "/" in value or "\\" in value or value.startswith("."):
        return None
    root = _root(data)
    metric = entry.metric if entry is not None else None
    for folder in (value, entry.local if entry is not None else None):
        if folder and (root / folder).is_dir():
            return FolderSource(root / folder, safe_name(value), metric)
    return None


def _root(data: DataSpec) -> Path:
    root = Path(data.root or "").expanduser()
    if not root.is_dir():
        raise PipelineError(
            "data.root is not a folder", where=f"data.root={data.root}", hint="data.root=$FUSION_DATA"
        )
    return root


def _bare_folder(value: str, data: DataSpec) -> Source:
    """A folder here is meant only if the name is known nowhere; else it would stand in for another source."""
    entry = find_entry(value)
    beside = (Path(value) / FILE_NAME).is_file()
    if beside and entry is None:
        return FolderSource(Path(value))
    hints = [f"task=./{value} for the folder here"] if beside else []
    elsewhere = [how for source, how in entry.sources.items() if source != data.source] if entry else []
    raise PipelineError(
        f"{_title(data)} has no task '{value}'{', but another source has it' if elsewhere else ''}",
        where=f"task={value}, data={data.source}",
        hint="; or ".join([*elsewhere, *hints, did_you_mean(value, known_tasks(data))]),
    )


def _path(value: str, data: DataSpec) -> Source:
    path = Path(value).expanduser()
    if path.is_dir():
        return FolderSource(path)
    if path.name == FILE_NAME:
        raise PipelineError("name the folder, not its dataset.json", where=value, hint=f"task={path.parent}")
    if path.is_file():
        return FileSource(path=path)
    if file_format(path) is not None:
        raise PipelineError("there is no such file", where=str(path), hint="check the path")
    raise PipelineError(
        f"there is no file or folder '{value}'",
        where=f"task={value}",
        hint=f"check the path, or name a task of data={data.source}: {', '.join(known_tasks(data))}",
    )


def _title(data: DataSpec) -> str:
    if data.source == "local":
        return f"the folder {data.root}"
    return {"embedded": "the embedded corpus", "hub": "the list of hub tasks"}[data.source]
