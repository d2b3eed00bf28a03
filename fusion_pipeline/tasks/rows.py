"""From tables to checked rows: every text is text, every label is a class number or a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.label_plan import LabelPlan, plan_labels
from fusion_pipeline.tasks.labels import Label, is_number_text, read_label
from fusion_pipeline.tasks.problems import Problems
from fusion_pipeline.tasks.raw import RawTask
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.table import Table, require_columns
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.task_types import metric_name
from fusion_pipeline.tasks.texts import check_text
from fusion_pipeline.tasks.typed_rows import check_typed
from fusion_pipeline.tasks.types import task_type

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True, kw_only=True)
class CheckedTask:
    """A task whose rows have all been checked."""

    spec: TaskSpec
    splits: dict[str, Rows]
    notes: tuple[str, ...]


def check_task(raw: RawTask) -> CheckedTask:
    """Checks every row of every split and numbers the labels."""
    if "train" not in raw.tables:
        raise PipelineError(
            "there is no train split", where=raw.source, hint="train is where training happens"
        )
    kind = None if raw.type is None else task_type(raw.type)
    if isinstance(kind, RowType):
        spec, splits = check_typed(raw, kind)
        return CheckedTask(spec=spec, splits=splits, notes=(*raw.notes, *_table_notes(raw)))
    texts = _text_columns(raw)
    label = raw.label or "label"
    for table in raw.tables.values():
        require_columns(table, {**{raw.keys[key]: texts[key] for key in texts}, raw.keys["label"]: label})
    labels = {split: _check_rows(table, tuple(texts.values()), label) for split, table in raw.tables.items()}
    _refuse_numbers(raw.tables["train"], texts, raw.keys)
    plan = _plan(raw, labels["train"], label)
    splits = {split: _number_rows(table, texts, labels[split], plan) for split, table in raw.tables.items()}
    notes = (*raw.notes, *_table_notes(raw), *plan.notes)
    return CheckedTask(spec=_spec(raw, plan, tuple(texts)), splits=splits, notes=notes)


def _table_notes(raw: RawTask) -> tuple[str, ...]:
    return tuple(note for table in raw.tables.values() for note in table.notes)


def _text_columns(raw: RawTask) -> dict[str, str]:
    columns = {"text": raw.text or "text"}
    if raw.text_pair:
        columns["text_pair"] = raw.text_pair
    elif raw.text is None and "text_pair" in raw.tables["train"].columns:
        columns["text_pair"] = "text_pair"
    return columns


def _check_rows(table: Table, texts: Sequence[str], label: str) -> list[Label]:
    problems = Problems(table.name, table.unit)
    labels: list[Label] = []
    for line, row in zip(table.lines, table.rows, strict=True):
        try:
            for column in texts:
                check_text(row, column)
            labels.append(read_label(row.get(label)))
        except ValueError as error:
            problems.add(line, str(error))
    problems.check(len(table.rows))
    return labels


def _refuse_numbers(table: Table, texts: Mapping[str, str], keys: Mapping[str, str]) -> None:
    # Text from a CSV file is text whatever it says; a column of nothing but numbers was named by mistake.
    for key, column in texts.items():
        if all(is_number_text(row[column]) for row in table.rows):
            raise PipelineError(
                f"column '{column}' holds numbers only, no text",
                where=table.place(0),
                hint=f"name another column in {keys[key]}",
            )


def _plan(raw: RawTask, labels: Sequence[Label], column: str) -> LabelPlan:
    first: dict[Label, int] = {}
    for index, label in enumerate(labels):
        first.setdefault(label, index)
    table = raw.tables["train"]
    return plan_labels(
        {label: table.place(index) for label, index in first.items()},
        rows=len(labels),
        column=column,
        type_=raw.type,
        names=raw.labels,
        numbered=raw.numbered,
        bounds=raw.bounds,
    )


def _number_rows(table: Table, texts: dict[str, str], labels: Sequence[Label], plan: LabelPlan) -> Rows:
    problems = Problems(table.name, table.unit)
    rows: Rows = []
    for line, row, label in zip(table.lines, table.rows, labels, strict=True):
        try:
            number = plan.encode(label)
        except ValueError as error:
            problems.add(line, str(error))
            continue
        rows.append({**{key: row[column] for key, column in texts.items()}, "label": number})
    problems.check(
        len(labels), hint="correct these rows, or set columns.label, columns.labels or columns.type"
    )
    return rows


def _spec(raw: RawTask, plan: LabelPlan, text: tuple[str, ...]) -> TaskSpec:
    metric = raw.metric or task_type(plan.type).metrics[0]
    metric = metric_name(metric, raw.average, len(plan.names) if plan.names else None)
    return TaskSpec(name=raw.name, type=plan.type, labels=plan.names, metric=metric, text=text)
