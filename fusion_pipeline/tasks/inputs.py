"""Texts to predict on: a data file without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusion_pipeline.tasks.problems import Problems
from fusion_pipeline.tasks.raw import wanted_columns
from fusion_pipeline.tasks.spec import ColumnsSpec, TaskSpec
from fusion_pipeline.tasks.table import read_table, require_columns
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.texts import check_text
from fusion_pipeline.tasks.typed_rows import read_inputs
from fusion_pipeline.tasks.types import task_type


def load_inputs(path: str, spec: TaskSpec, columns: ColumnsSpec) -> list[dict[str, Any]]:
    """Rows `{"text", "text_pair"?}`, or the fields of the task's type, in the order of the file; every row is checked.

    Args:
        path: A CSV, TSV, JSON lines or Parquet file.
        spec: The task that the texts are for; a pair task needs a second text.
        columns: `text` and `text_pair` name the columns where they are called otherwise.
    """
    kind = task_type(spec.type)
    if isinstance(kind, RowType):
        return _typed(path, kind, spec, columns)
    named = {key: getattr(columns, key) or key for key in spec.text}
    table = read_table(Path(path).expanduser(), wanted_columns(*named.values()))
    require_columns(table, {f"columns.{key}": column for key, column in named.items()})
    problems = Problems(table.name, table.unit)
    rows: list[dict[str, Any]] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            rows.append({key: check_text(row, column) for key, column in named.items()})
        except ValueError as error:
            problems.add(line, str(error))
    problems.check(len(table.rows))
    return rows


def _typed(path: str, kind: RowType, spec: TaskSpec, columns: ColumnsSpec) -> list[dict[str, Any]]:
    """Rows of a type that reads its own: columns are named by `text` and `text_pair`, or by the fields."""
    said = dict(zip(spec.text, (columns.text, columns.text_pair), strict=False))
    named: dict[str, str] = {}
    for field in spec.text:
        own = getattr(columns, field, None)
        named[field] = (own if isinstance(own, str) else None) or said.get(field) or field
    spread = {f"columns.choices {i}": column for i, column in enumerate(columns.cells.choices)}
    table = read_table(Path(path).expanduser(), wanted_columns(*named.values(), *spread.values()))
    left_out = kind.absent(named, table.columns) | ({"choices"} if spread else set())
    wanted = {key: column for key, column in named.items() if key not in left_out}
    require_columns(table, {f"columns.{key}": column for key, column in wanted.items()} | spread)
    return read_inputs(table, kind, named, columns.cells)
