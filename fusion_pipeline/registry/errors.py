"""The error of a config, told apart from the others by its exit code."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError


class ConfigError(PipelineError):
    """A mistake on the command line or in a config file (exit code 2)."""


def true_or_false(value: object, key: str) -> bool:
    """The value, where it is one of both."""
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is not true or false", where=key, hint=f"{key}=true, {key}=false")
    return value
