"""What must hold between the splits, and what a person should know about them."""

from __future__ import annotations

from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.rows import CheckedTask, Rows
from fusion_pipeline.tasks.split import text_key
from fusion_pipeline.tasks.types import task_type

_SHOWN = 5


def check_splits(task: CheckedTask, where: str) -> tuple[str, ...]:
    """Refuses a class without a row in train, where the type needs every class there.

    Returns notes on classes and repeated texts.
    """
    notes: list[str] = []
    for split, rows in task.splits.items():
        absent = _absent(task, rows)
        if absent and split == "train" and task_type(task.spec.type).whole:
            raise PipelineError(
                f"no row of train has the class {_listed(absent)}",
                where=where,
                hint="add rows of that class, or leave it out of the class names",
            )
        if absent:
            notes.append(f"{split} has no row of the class {_listed(absent)}")
    return (*notes, *_repeated(task))


def _numbers(label: Any) -> list[Any]:
    return label if isinstance(label, list) else [label]


def _absent(task: CheckedTask, rows: Rows) -> list[str]:
    if task.spec.labels is None:
        return []
    present = {number for row in rows for number in _numbers(row["label"])}
    return [name for number, name in enumerate(task.spec.labels or ()) if number not in present]


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _repeated(task: CheckedTask) -> list[str]:
    train = {text_key(row) for row in task.splits["train"]}
    notes = []
    for split in ("validation", "test"):
        rows = task.splits[split]
        count = sum(text_key(row) in train for row in rows)
        if count:
            verb = "stands" if count == 1 else "stand"
            notes.append(f"{count:,} of {len(rows):,} {split} texts also {verb} in train")
    return notes
