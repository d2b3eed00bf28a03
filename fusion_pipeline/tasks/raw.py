"""A task as a source hands it over: tables with named columns, nothing checked or numbered yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fusion_pipeline.tasks.spec import ColumnsSpec
from fusion_pipeline.tasks.table import Table
from fusion_pipeline.tasks.types import task_type, type_names

COLUMN_KEYS = ("text", "text_pair", "label")


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
    return replace(raw, **changed, keys=keys)


def wanted_columns(*columns: str | None) -> frozenset[str]:
    """The columns worth reading: those named, and the usual names."""
    usual = {"text", "text_pair", "label"}
    for kind in map(task_type, type_names()):
        usual |= {*kind.fields, kind.label}
    return frozenset(column for column in columns if column) | usual
