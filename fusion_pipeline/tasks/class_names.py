"""Class names as a person or a file lists them, checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.labels import label_text
from fusion_pipeline.tasks.types import task_type


def name_tuple(labels: Any, where: str) -> tuple[str, ...] | None:
    """The names as text, None where there are none; refuses what is no list of words or numbers."""
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


def check_labels(labels: tuple[str, ...] | None, type_: str, where: str) -> None:
    """Refuses names that a task of this type cannot have."""
    if not task_type(type_).named:
        if labels is not None:
            raise PipelineError(f"a {type_} task has no class names", where=where)
        return
    if not labels or len(labels) < 2:
        raise PipelineError(f"a {type_} task needs two classes or more, not {labels}", where=where)
    if len(set(labels)) < len(labels) or not all(labels):
        raise PipelineError(f"class names must differ and not be empty: {', '.join(labels)}", where=where)
