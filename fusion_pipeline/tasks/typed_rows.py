"""From tables to checked rows, for the types that read their own rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.cells import Cells
from fusion_pipeline.tasks.label_plan import label_index
from fusion_pipeline.tasks.labels import Label, label_text
from fusion_pipeline.tasks.problems import Problems
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.table import Table, require_columns
from fusion_pipeline.tasks.task_type import Row, RowType

if TYPE_CHECKING:
    from fusion_pipeline.tasks.raw import RawTask


def check_typed(raw: RawTask, kind: RowType) -> tuple[TaskSpec, dict[str, list[Row]]]:
    """Checks every row of every split; the task and its rows, with numbered labels."""
    columns, label = field_columns(kind, raw), raw.label or kind.label
    for table in raw.tables.values():
        # One by one: several columns may be set by one key.
        for key, column in (*_inputs(raw, kind, columns, table), *_labels(raw, label)):
            require_columns(table, {key: column})
    names = _names(raw, kind, label)
    index = label_index(names or ())
    splits = {
        split: _rows(table, kind, columns, label, index, raw.cells) for split, table in raw.tables.items()
    }
    metric = kind.metric(raw.metric, raw.average, names)
    spec = TaskSpec(name=raw.name, type=kind.name, labels=names, metric=metric, text=tuple(columns))
    return spec, splits


def field_columns(kind: RowType, raw: RawTask) -> dict[str, str]:
    """The column of each field of a row."""
    said = (raw.text, raw.text_pair, *raw.more)
    if kind.fields:
        return {f: (said[i] if i < len(said) else None) or f for i, f in enumerate(kind.fields)}
    second = raw.text_pair or (
        "text_pair" if raw.text is None and "text_pair" in raw.tables["train"].columns else None
    )
    return {"text": raw.text or "text"} | ({"text_pair": second} if second else {})


def _inputs(raw: RawTask, kind: RowType, columns: Mapping[str, str], table: Table) -> list[tuple[str, str]]:
    """(config key, column) of all that a row is read from."""
    spread = raw.cells.choices
    left_out = kind.absent(columns, table.columns) | ({"choices"} if spread else set())
    single = [(field, column) for field, column in columns.items() if field not in left_out]
    pairs = [(raw.keys.get(field, raw.keys["text"]), column) for field, column in single]
    return [*pairs, *(("columns.choices", column) for column in spread)]


def _labels(raw: RawTask, label: str) -> list[tuple[str, str]]:
    """(config key, column) of all that a label is read from."""
    cells = raw.cells
    if cells.answer is None:
        return [(raw.keys["label"], label)]
    start = [] if cells.answer_start is None else [("columns.answer_start", cells.answer_start)]
    return [("columns.answer", cells.answer), *start]


def _names(raw: RawTask, kind: RowType, label: str) -> tuple[str, ...] | None:
    """The names that are said, or those that occur in train, sorted."""
    if not kind.named or raw.labels is not None:
        return raw.labels
    values = [_opened(kind, row, label, raw.cells) for row in raw.tables["train"].rows]
    words = {
        label_text(word)
        for value in values
        for word in (value if isinstance(value, list | tuple) else [value])
        if isinstance(word, str | int | float)
    }
    if len(words) < 2:
        raise PipelineError(
            f"column '{label}' holds fewer than two labels", where=raw.tables["train"].place(0)
        )
    return tuple(sorted(words))


def _opened(kind: RowType, row: Mapping[str, Any], label: str, cells: Cells) -> Any:
    """A row's label; what cannot be read is told with its line later."""
    try:
        return kind.open_label(row, {}, label, cells)
    except ValueError:
        return None


def _rows(
    table: Table,
    kind: RowType,
    columns: Mapping[str, str],
    label: str,
    index: Mapping[Label, int],
    cells: Cells,
) -> list[Row]:
    problems = Problems(table.name, table.unit)
    rows: list[Row] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            inputs = kind.read(kind.open(row, columns, cells), columns)
            value = kind.open_label(row, columns, label, cells)
            rows.append({**inputs, "label": kind.read_label(value, inputs, index)})
        except ValueError as error:
            problems.add(line, str(error))
    problems.check(len(table.rows))
    return rows


def read_inputs(table: Table, kind: RowType, columns: Mapping[str, str], cells: Cells) -> list[Row]:
    """Checked rows without labels."""
    problems = Problems(table.name, table.unit)
    rows: list[Row] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            rows.append(kind.read(kind.open(row, columns, cells), columns))
        except ValueError as error:
            problems.add(line, str(error))
    problems.check(len(table.rows))
    return rows
