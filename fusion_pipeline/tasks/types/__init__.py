"""The task types, one file each: a file in this folder with a `TYPE` is a type of the file's name."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from fusion_pipeline.tasks.task_type import TaskType


@cache
def type_names() -> tuple[str, ...]:
    """The names of all types."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def task_type(name: str) -> TaskType:
    """The type of this name; KeyError where there is none."""
    if name not in type_names():
        raise KeyError(name)
    found: TaskType = import_module(f"{__name__}.{name}").TYPE
    return found


@cache
def head_type(head: str) -> TaskType:
    """The type whose heads are called so; KeyError where there is none."""
    return {task_type(name).head: task_type(name) for name in type_names()}[head]


def head_names() -> tuple[str, ...]:
    """What heads are called, one name for each type."""
    return tuple(task_type(name).head for name in type_names())
