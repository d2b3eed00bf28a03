"""What a task is, where its data comes from and which columns hold it: plain values that check themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.labels import label_text
from fusion_pipeline.tasks.names import check_name
from fusion_pipeline.tasks.task_types import CLASSIFICATION, check_type
from fusion_pipeline.tasks.types import task_type

SOURCES = ("embedded", "local", "hub")
SPLITS = ("train", "validation", "test")
TEXT_FIELDS = (("text",), ("text", "text_pair"))


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task as the model sees it.

    Args:
        name: Safe name; artefacts are called after it.
        type: A name of `tasks/types/`, such as 'classification'.
        labels: Class names in the order of the class numbers; None for a type without names.
        metric: The primary metric, by which the best checkpoint is chosen.
        text: The fields of a row that are fed to the model: ('text',), ('text', 'text_pair') or the type's own.
    """

    name: str
    type: str
    labels: tuple[str, ...] | None
    metric: str
    text: tuple[str, ...] = ("text",)

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        check_name(self.name, where)
        check_type(self.type, where)
        object.__setattr__(self, "labels", _name_tuple(self.labels, where))
        object.__setattr__(self, "text", tuple(self.text))
        _check_labels(self.labels, self.type, where)
        _check_metric(self.metric, self.type, self.labels, where)
        _check_fields(self.text, task_type(self.type).fields, where)

    @property
    def has_pair(self) -> bool:
        """Whether each row is a pair of texts."""
        return self.text == TEXT_FIELDS[1]

    @property
    def output_size(self) -> int:
        """How many numbers a head gives: one per class, or one."""
        return len(self.labels) if self.labels else 1


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where data comes from.

    Args:
        source: 'embedded' (generated sentences), 'local' (folders) or 'hub' (Hugging Face).
        root: The folder that holds the data folders (local), or downloaded hub repositories (hub).
        config: Configuration of a hub data set that is named by its id.
        revision: Revision (branch, tag or commit) of a hub data set.
        seed: For cutting missing splits off and for subsamples; not the training seed, so that runs with
            several seeds see the same data.
        max_train: At most so many rows of train, drawn stratified; likewise `max_validation`, `max_test`.
        train_sizes: Task → how many of its rows of train are learnt from (few examples): for one `draw`, fewer
            rows are among more. Validation and test stay whole.
        draw: The seed of that choice.
    """

    source: str = "embedded"
    root: str | None = None
    config: str | None = None
    revision: str | None = None
    seed: int = 0
    max_train: int | None = None
    max_validation: int | None = None
    max_test: int | None = None
    train_sizes: dict[str, int] = field(default_factory=dict)
    draw: int = 0

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise PipelineError(
                f"unknown data source {self.source!r}",
                where="data",
                hint=did_you_mean(str(self.source), SOURCES),
            )
        _check_whole("data.seed", self.seed, 0)
        for split, cap in self.caps.items():
            if cap is not None:
                _check_whole(f"data.max_{split}", cap, 1)
        _check_whole("data.draw", self.draw, 0)
        for task, size in self.train_sizes.items():
            _check_whole(f"data.train_sizes.{task}", size, 1)
        self._check_place()

    @property
    def caps(self) -> dict[str, int | None]:
        """The most rows per split."""
        return dict(zip(SPLITS, (self.max_train, self.max_validation, self.max_test), strict=True))

    def _check_place(self) -> None:
        if self.source == "local" and not self.root:
            raise PipelineError(
                "data=local needs data.root=DIR", where="data.root", hint="data.root=$FUSION_DATA"
            )
        if self.source == "embedded" and self.root is not None:
            # Taking the corpus although a folder was named: one source would stand in for another.
            raise PipelineError(
                "data.root is set, but data=embedded reads no folder",
                where="data.root",
                hint=f"data=local data.root={self.root}",
            )
        for key in ("config", "revision"):
            if getattr(self, key) is not None and self.source != "hub":
                raise PipelineError(
                    f"data.{key} goes with data=hub", where=f"data.{key}", hint="leave it out"
                )


@dataclass(frozen=True, kw_only=True)
class ColumnsSpec:
    """Which columns of one's own data hold what; everything is optional.

    Args:
        text: Column of the text (default 'text').
        text_pair: Column of the second text.
        label: Column of the label (default 'label').
        type: A name of `tasks/types/`; classification or regression is inferred from the labels.
        labels: Class names in order; numbers are taken as words.
        validation: File with the validation rows.
        test: File with the test rows.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    type: str | None = None
    labels: tuple[str | int | float | bool, ...] | None = None
    validation: str | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "labels" and value is not None and (not isinstance(value, str) or not value):
                raise PipelineError(f"{value!r} is not a name", where=f"columns.{one.name}")
        if self.type is not None:
            check_type(self.type, "columns.type")
        names = _name_tuple(self.labels, "columns.labels")
        object.__setattr__(self, "labels", names)
        if names is not None:
            _check_labels(names, self.type or CLASSIFICATION, "columns.labels")
        self._check_distinct()

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are set."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def _check_distinct(self) -> None:
        named = [c for c in (self.text or "text", self.text_pair, self.label or "label") if c is not None]
        if len(set(named)) < len(named):
            raise PipelineError(
                f"one column cannot be text, second text and label at once: {', '.join(named)}",
                where="columns",
            )


def _name_tuple(labels: Any, where: str) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise PipelineError(
            f"{labels!r} is not a list of class names", where=where, hint="[negative,positive]"
        )
    names = tuple(labels)
    if not all(isinstance(name, str | int | float) for name in names):
        raise PipelineError(f"class names are words or numbers, not {list(names)}", where=where)
    return tuple(label_text(name) for name in names)


def _check_fields(text: tuple[str, ...], own: tuple[str, ...], where: str) -> None:
    if own and text != own:
        raise PipelineError(f"a task of this type reads {', '.join(own)}, not {text}", where=where)
    if not own and text not in TEXT_FIELDS:
        raise PipelineError(f"a task reads 'text' or 'text' and 'text_pair', not {text}", where=where)


def _check_labels(labels: tuple[str, ...] | None, type_: str, where: str) -> None:
    if not task_type(type_).named:
        if labels is not None:
            raise PipelineError(f"a {type_} task has no class names", where=where)
        return
    if not labels or len(labels) < 2:
        raise PipelineError(f"a {type_} task needs two classes or more, not {labels}", where=where)
    if len(set(labels)) < len(labels) or not all(labels):
        raise PipelineError(f"class names must differ and not be empty: {', '.join(labels)}", where=where)


def _check_metric(metric: str, type_: str, labels: tuple[str, ...] | None, where: str) -> None:
    known = task_type(type_).metrics
    if metric not in known:
        hint = did_you_mean(str(metric), known)
        raise PipelineError(f"no metric {metric!r} for {type_}", where=where, hint=hint)
    if metric == "f1" and type_ == CLASSIFICATION and labels is not None and len(labels) != 2:
        raise PipelineError(f"'f1' needs two classes, here are {len(labels)}", where=where, hint="f1_macro")


def _check_whole(key: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PipelineError(f"{key} must be a whole number from {least} up, not {value!r}", where=key)
