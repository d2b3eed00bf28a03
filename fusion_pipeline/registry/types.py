"""Plain config values against a spec's annotations: a word where a number belongs is an error."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from fusion_pipeline.registry.errors import ConfigError

NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    tuple: "a list",
    type(None): "null",
}
_MISFIT = object()


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of what will be called; empty where they cannot be resolved."""
    try:
        return typing.get_type_hints(
            inspect.getattr_static(target, "__init__") if isinstance(target, type) else target
        )
    except NameError:
        return {}


def convert(value: Any, hint: Any, where: str) -> Any:
    """The value in the annotated type (lists become tuples, 1 becomes 1.0), or a ConfigError."""
    result = _fit(value, hint)
    if result is _MISFIT:
        raise ConfigError(f"{value!r} is not {describe(hint)}", where=where)
    return result


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in arguments)
    if _is_sequence(origin or hint) and arguments:
        return f"a list ({describe(arguments[0])} each)"
    return NAMES.get(tuple if _is_sequence(origin or hint) else origin or hint, str(hint))


def _fit(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return (
            value if any(value == option and type(value) is type(option) for option in arguments) else _MISFIT
        )
    if origin in (Union, types.UnionType):
        return _fit_any(value, arguments)
    if _is_sequence(origin or hint):
        return _fit_sequence(value, origin or hint, arguments)
    if (origin or hint) in (dict, Mapping):
        return value if isinstance(value, dict) else _MISFIT
    return _fit_plain(value, hint)


def _fit_plain(value: Any, hint: Any) -> Any:
    if hint not in (int, float, bool, str, type(None)):
        return value  # an annotation of one's own: the spec checks it
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # yaml reads a column or label called 2 as a number
    return value if isinstance(value, hint) and not (hint is int and isinstance(value, bool)) else _MISFIT


def _fit_any(value: Any, options: Sequence[Any]) -> Any:
    exact = [option for option in options if type(value) is option]
    fits = (_fit(value, option) for option in (*exact, *options))
    return next((fit for fit in fits if fit is not _MISFIT), _MISFIT)


def _fit_sequence(value: Any, container: Any, arguments: Sequence[Any]) -> Any:
    if not isinstance(value, list | tuple):
        return _MISFIT
    items = [_fit(item, arguments[0]) if arguments else item for item in value]
    if any(item is _MISFIT for item in items):
        return _MISFIT
    return items if container is list else tuple(items)


def _is_sequence(hint: Any) -> bool:
    return hint in (list, tuple, Sequence)
