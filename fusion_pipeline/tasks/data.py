"""The door to data: a task's name, folder, file or hub id in; checked rows out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.checks import check_splits
from fusion_pipeline.tasks.resolve import Source, resolve
from fusion_pipeline.tasks.rows import Rows, check_task
from fusion_pipeline.tasks.spec import SPLITS, ColumnsSpec, DataSpec, TaskSpec
from fusion_pipeline.tasks.split import cap, cut_missing, few


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """A task with its rows.

    Args:
        spec: The task.
        splits: 'train', 'validation' and 'test'; rows `{"text", "text_pair"?, "label"}`, or
            the fields of the type.
        source: Where the data comes from, for a person.
        fingerprint: sha256 over classes and rows of all splits.
        notes: What was cut, drawn or inferred.
    """

    spec: TaskSpec
    splits: dict[str, list[dict[str, Any]]] = field(repr=False)
    source: str
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows per split."""
        return {split: len(rows) for split, rows in self.splits.items()}


def load_task(value: str, *, data: DataSpec, columns: ColumnsSpec) -> TaskData:
    """Loads one task and checks every row of it.

    Args:
        value: A task's name, the path of a dataset folder or data file, or (data=hub) a hub id.
        data: Where named tasks come from.
        columns: Which columns hold what, for data given by a path or a hub id.
    """
    return _load(resolve(value, data), data, columns)


def load_tasks(values: Sequence[str], *, data: DataSpec, columns: ColumnsSpec) -> list[TaskData]:
    """Loads several tasks; `columns` goes to those that take it, and to one at least."""
    sources = [resolve(value, data) for value in values]
    takers = [source for source in sources if source.takes_columns]
    if columns.given and len(takers) != 1 and (not takers or columns.validation or columns.test):
        raise PipelineError(
            f"columns.{columns.given[0]} is set, but {len(takers) or 'none'} of the tasks can take it",
            where=f"tasks {', '.join(values)}",
            hint="columns.* is for data given by a path; columns.validation and columns.test for exactly one",
        )
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise PipelineError(f"two tasks are named '{name}'", where=f"tasks {', '.join(values)}")
    return [_load(source, data, columns if source.takes_columns else ColumnsSpec()) for source in sources]


def _load(source: Source, data: DataSpec, columns: ColumnsSpec) -> TaskData:
    if columns.given and not source.takes_columns:
        raise PipelineError(
            f"task '{source.name}' has fixed columns; columns.{columns.given[0]} is for data given by a path",
            where=f"columns.{columns.given[0]}",
            hint="leave it out, or name a folder or file: task=./DIR, task=FILE.csv",
        )
    raw = source.read(columns)
    task = cut_missing(check_task(raw), seed=data.seed, where=raw.source)
    task = cap(task, data.caps, seed=data.seed, where=raw.source)
    task = few(task, data.train_sizes.get(task.spec.name), draw=data.draw, where=raw.source)
    notes = (*task.notes, *check_splits(task, raw.source))
    return TaskData(
        spec=task.spec,
        splits=task.splits,
        source=raw.source,
        fingerprint=fingerprint(task.spec, task.splits),
        notes=notes,
    )


def fingerprint(spec: TaskSpec, splits: Mapping[str, Rows]) -> str:
    """sha256 over what is learnt from: type, classes, and every row in order (not names and paths)."""
    digest = hashlib.sha256(_line([spec.type, spec.labels, spec.text]))
    for split in SPLITS:
        digest.update(_line([split, len(splits[split])]))
        for row in splits[split]:
            inputs = [row["text"], row.get("text_pair")] if "text" in row else [row[key] for key in spec.text]
            digest.update(_line([*inputs, row["label"]]))
    return digest.hexdigest()


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n"
