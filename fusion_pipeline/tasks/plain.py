"""What works only for tasks with one label or value a text: classification and regression."""

from __future__ import annotations

from collections.abc import Iterable

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type


def check_plain(tasks: Iterable[TaskSpec], what: str, *, where: str, hint: str) -> None:
    """Refuses tasks of other types, by name; `what` works for plain ones only."""
    others = [f"{task.name} ({task.type})" for task in tasks if isinstance(task_type(task.type), RowType)]
    if others:
        listed = ", ".join(others)
        raise PipelineError(
            f"{what} works for classification and regression, and not for {listed}", where=where, hint=hint
        )
