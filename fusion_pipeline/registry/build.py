"""From values to the spec object that an installed yaml names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry.errors import ConfigError
from fusion_pipeline.registry.folders import config_file, load_yaml
from fusion_pipeline.registry.types import convert, hints_of

TARGET = "_target_"
KIND = "kind"


def build(group: str, name: str, **values: Any) -> Any:
    """The spec of an installed option, its yaml's values replaced by `values`."""
    if TARGET in values:
        raise ConfigError("a target to import comes from installed configs only", where=f"{group}.{TARGET}")
    return build_from({**load_yaml(config_file(group, name)), **values}, group=group)


def build_from(section: dict[str, Any], *, group: str) -> Any:
    """The spec of a composed config section, which carries its `_target_`; `group` is what errors call it."""
    values = {key: value for key, value in section.items() if key != TARGET}
    if TARGET not in section:
        raise ConfigError("the config section names no target", where=f"{group}.{TARGET}")
    target = locate(str(section[TARGET]), where=f"{group}.{TARGET}")
    accepted = inspect.signature(target).parameters
    if KIND not in accepted:
        values.pop(KIND, None)
    _check_keys(values, accepted, group)
    hints = hints_of(target)
    values = {key: convert(value, hints.get(key, Any), f"{group}.{key}") for key, value in values.items()}
    return _call(target, values, group)


def locate(target: str, *, where: str) -> Callable[..., Any]:
    """The function or class that a trusted config names, as `package.module.name`."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name and not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; something it imports is not
        raise ConfigError(f"there is no '{target}' to import", where=where) from error
    except (AttributeError, ValueError) as error:
        raise ConfigError(f"there is no '{target}' to import", where=where) from error
    if not callable(found):
        raise ConfigError(f"'{target}' is not a class or function", where=where)
    return found


def _check_keys(values: dict[str, Any], accepted: Any, group: str) -> None:
    parameters = accepted.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = [parameter.name for parameter in parameters]
    for key in values:
        if key not in names:
            raise ConfigError(
                f"there is no option '{key}'", where=f"{group}.{key}", hint=did_you_mean(key, names)
            )
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty and parameter.name not in values:
            raise ConfigError("this option must be given", where=f"{group}.{parameter.name}")


def _call(target: Callable[..., Any], values: dict[str, Any], group: str) -> Any:
    try:
        return target(**values)
    except PipelineError as error:
        if error.where is None or error.where in values:
            where = group if error.where is None else f"{group}.{error.where}"
            raise ConfigError(error.what, where=where, hint=error.hint) from error
        raise ConfigError(error.what, where=error.where, hint=error.hint) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error), where=_named(str(error), values, group)) from error


def _named(message: str, values: dict[str, Any], group: str) -> str:
    """The config key a message speaks of, where it names exactly one; else the group."""
    keys = [key for key in values if key in message.replace("'", " ").replace("=", " ").split()]
    return f"{group}.{keys[0]}" if len(keys) == 1 else group
