"""The task types: a file in this folder with a `TYPE` is a type of the file's name.

A person's own are in the folder `task_type` of a `--config-dir`: yaml of the type's name, its `_target_` the class.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from fusion_pipeline.registry import ConfigError, build_from, config_file, load_yaml, options
from fusion_pipeline.tasks.task_type import TaskType

GROUP = "task_type"
# Types that came with an artefact whose module is trusted.
_recorded: dict[str, TaskType] = {}


def type_names() -> tuple[str, ...]:
    """The names of all types."""
    return tuple(sorted({*_own_names(), *options(GROUP), *_recorded}))


def task_type(name: str) -> TaskType:
    """The type of this name; KeyError where there is none."""
    if name in _own_names():
        return _own(name)
    if name in options(GROUP):
        return _outside(str(config_file(GROUP, name)), name)
    return _recorded[name]


def head_type(head: str) -> TaskType:
    """The type whose heads are called so; KeyError where there is none."""
    return {kind.head: kind for kind in map(task_type, type_names())}[head]


def head_names() -> tuple[str, ...]:
    """What heads are called, one name for each type."""
    return tuple(task_type(name).head for name in type_names())


def remember(name: str, made_by: type) -> None:
    """Makes a type known that an artefact brought along, given by its class."""
    if not issubclass(made_by, TaskType):
        raise ConfigError(f"{made_by.__name__} is not a task type", where=name)
    _recorded[name] = _check(made_by(), name, name)


@cache
def _own_names() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def _own(name: str) -> TaskType:
    found: TaskType = import_module(f"{__name__}.{name}").TYPE
    return found


@cache
def _outside(path: str, name: str) -> TaskType:
    return _check(build_from(load_yaml(config_file(GROUP, name)), group=GROUP), name, path)


def _check(kind: object, name: str, where: str) -> TaskType:
    if not isinstance(kind, TaskType) or kind.name != name:
        raise ConfigError(
            f"this is not a task type called '{name}'", where=where, hint="its class says its name"
        )
    own = {_own(known).head for known in _own_names()}
    if kind.head in own:
        raise ConfigError(f"heads called '{kind.head}' are those of another type", where=where)
    return kind
