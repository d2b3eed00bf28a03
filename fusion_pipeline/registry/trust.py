"""What an artefact of a stranger's own kind may import: modules that the person names, and nothing else.

An artefact names the class behind a component of a kind that is not ours. Where that kind is not installed (and not
in a `--config-dir`), the class is imported only if its module was named exactly, or is a submodule of one that was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import is_dataclass
from typing import Any

from fusion_pipeline.registry.build import build_from, locate
from fusion_pipeline.registry.errors import ConfigError

OWN = "fusion_pipeline"
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


def check_trust(modules: Any) -> tuple[str, ...]:
    """The names of modules that a person gave as `trust=`; a ConfigError for anything else."""
    if isinstance(modules, str):
        modules = [modules]
    if not isinstance(modules, list | tuple):
        raise ConfigError(f"{modules!r} is not a list of modules", where="trust", hint="trust=[my_module]")
    for module in modules:
        if not isinstance(module, str) or not _DOTTED.fullmatch(module):
            raise ConfigError(
                f"{module!r} is not the name of a module", where="trust", hint="trust=[my_module]"
            )
    return tuple(modules)


@contextmanager
def trusting(modules: Iterable[str]) -> Iterator[None]:
    """Within the block, artefacts may take classes from these modules and their submodules."""
    token = _trusted.set((*_trusted.get(), *check_trust(list(modules))))
    try:
        yield
    finally:
        _trusted.reset(token)


def target_of(value: object) -> str | None:
    """What an artefact says of the class of a component, None for ours, which are found by their kind."""
    made_by = type(value)
    if f"{made_by.__module__}.".startswith(f"{OWN}."):
        return None
    return f"{made_by.__module__}.{made_by.__qualname__}"


def locate_recorded(target: object, what: str, *, where: str) -> type:
    """The class that an artefact names, where its module is trusted; refused before anything is imported.

    `what` is what the class stands for, in messages ("the adapter kind 'scale'").
    """
    if not isinstance(target, str) or not _DOTTED.fullmatch(target) or "." not in target:
        raise ConfigError(
            f"there is no {what}, and the artefact names no class for it", where=where, hint=_ADD
        )
    module = target.rpartition(".")[0]
    if not _is_trusted(module):
        raise ConfigError(
            f"there is no {what} here; the artefact names {target}, and what an artefact names is not imported",
            where=where,
            hint=f"{_ADD}; or, if you know that module and trust it, trust=[{module}]",
        )
    found = locate(target, where=where)
    if not isinstance(found, type) or found.__module__ != module:
        raise ConfigError(f"{target} is not a class of that module", where=where, hint=_ADD)
    return found


def build_recorded(group: str, kind: str, values: dict[str, Any], target: object, *, where: str) -> Any:
    """The spec of a component whose kind is not installed, from the class that its artefact names."""
    found = locate_recorded(target, f"{group} kind '{kind}'", where=where)
    if not is_dataclass(found):
        raise ConfigError(f"{target} is not a dataclass with settings", where=where, hint=_ADD)
    return build_from({"_target_": target, "kind": kind, **values}, group=group)


_ADD = "--config-dir DIR adds the folder of configs that has it"


def _is_trusted(module: str) -> bool:
    # Ours are found by their kind; a target that names our code has no reason to.
    if f"{module}.".startswith(f"{OWN}."):
        return False
    return any(module == name or module.startswith(f"{name}.") for name in _trusted.get())
