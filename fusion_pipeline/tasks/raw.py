"""A task as a source hands it over: tables with named columns, nothing checked or numbered yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.cells import Cells
from fusion_pipeline.tasks.columns import ColumnsSpec
from fusion_pipeline.tasks.table import Table
from fusion_pipeline.tasks.types import task_type, type_names

COLUMN_KEYS = ("text", "text_pair", "label")
# What only types with fields or lists of their own have.
FIELD_KEYS = ("context", "question", "tokens", "choices", "answer", "answer_start", "separator")


@dataclass(frozen=True, kw_only=True)
class RawTask:
    """What every source gives, and what `rows.py` turns into checked rows.

    Args:
        name: The task's name.
        source: Where the data comes from, for a person.
        tables: One table per split there is.
        text: Column of the text; None means 'text', and 'text_pair' too where there is such a column.
        text_pair: Column of the second text.
        more: Further columns that the type reads, after these two.
        label: Column of the label; None means the type's usual one.
        type: The type, or None to infer it.
        labels: Class names in order, or None to infer them.
        numbered: Whether a label may be a position in `labels` in one row and a name in another.
        bounds: Range of a regression label.
        metric: The primary metric, or None for the type's usual one; may still be plain 'f1'.
        average: How that metric averages over classes, where it is said.
        notes: What a person should know.
        keys: Config keys that set the columns, for messages.
        cells: How lists and records are spelled.
    """

    name: str
    source: str
    tables: Mapping[str, Table]
    text: str | None = None
    text_pair: str | None = None
    more: tuple[str, ...] = ()
    label: str | None = None
    type: str | None = None
    labels: tuple[str, ...] | None = None
    numbered: bool = False
    bounds: tuple[float, float] | None = None
    metric: str | None = None
    average: str | None = None
    notes: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=lambda: {key: f"columns.{key}" for key in COLUMN_KEYS})
    cells: Cells = field(default_factory=Cells)


def override(raw: RawTask, columns: ColumnsSpec) -> RawTask:
    """The task with the columns that the person names in place of its own."""
    changed = {key: getattr(columns, key) for key in columns.given if key in (*COLUMN_KEYS, "type")}
    keys = {key: f"columns.{key}" if key in changed else said for key, said in raw.keys.items()}
    if "text" in changed:
        # A named text column means a single text unless the second one is named too.
        changed.setdefault("text_pair", None)
    if columns.labels is not None:
        changed |= {"labels": columns.labels, "numbered": False}
    retyped = "type" in changed and changed["type"] != raw.type
    if retyped:
        changed |= {"labels": columns.labels, "bounds": None, "metric": None, "average": None}
    if "label" in changed and changed["label"] != (raw.label or "label"):
        changed |= {"labels": columns.labels, "bounds": None}
    return _with_fields(replace(raw, **changed, keys=keys, cells=columns.cells), columns)


def _with_fields(raw: RawTask, columns: ColumnsSpec) -> RawTask:
    """The task with the columns that are named by the fields of its type."""
    kind = None if raw.type is None else task_type(raw.type)
    own = () if kind is None else kind.fields
    given = [key for key in FIELD_KEYS if key in columns.given]
    foreign = [key for key in given if kind is None or key not in (*own, *kind.spelled)]
    if foreign:
        raise PipelineError(
            f"a {raw.type or 'classification or regression'} task has no columns.{foreign[0]}",
            where=f"columns.{foreign[0]}",
            hint="columns.type=" + _types_with(foreign[0]),
        )
    if not set(given) & set(own):
        return raw
    said = dict(zip(own, (raw.text, raw.text_pair, *raw.more), strict=False))
    own_given = {key: getattr(columns, key) for key in given if key in own}
    said |= {key: value for key, value in own_given.items() if isinstance(value, str)}
    first, *rest = (said.get(field) or field for field in own)
    keys = {key: f"columns.{key}" for key in given}
    return replace(
        raw,
        text=first,
        text_pair=rest[0] if rest else None,
        more=tuple(rest[1:]),
        keys={**raw.keys, **keys},
    )


def _types_with(key: str) -> str:
    kinds = (task_type(name) for name in type_names())
    return " or ".join(kind.name for kind in kinds if key in (*kind.fields, *kind.spelled))


def wanted_columns(*columns: str | None) -> frozenset[str]:
    """The columns worth reading: those named, and the usual names."""
    usual = {"text", "text_pair", "label"}
    for kind in map(task_type, type_names()):
        usual |= {*kind.fields, kind.label}
    return frozenset(column for column in columns if column) | usual
