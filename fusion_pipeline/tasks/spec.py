"""What a task is, where its data comes from and which columns hold it: plain values that check themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.class_names import check_labels, name_tuple
from fusion_pipeline.tasks.columns import ColumnsSpec
from fusion_pipeline.tasks.names import check_name
from fusion_pipeline.tasks.task_types import CLASSIFICATION, check_type
from fusion_pipeline.tasks.types import task_type

__all__ = ["ColumnsSpec", "DataSpec", "TaskSpec"]

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
        object.__setattr__(self, "labels", name_tuple(self.labels, where))
        object.__setattr__(self, "text", tuple(self.text))
        check_labels(self.labels, self.type, where)
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


def _check_fields(text: tuple[str, ...], own: tuple[str, ...], where: str) -> None:
    if own and text != own:
        raise PipelineError(f"a task of this type reads {', '.join(own)}, not {text}", where=where)
    if not own and text not in TEXT_FIELDS:
        raise PipelineError(f"a task reads 'text' or 'text' and 'text_pair', not {text}", where=where)


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
