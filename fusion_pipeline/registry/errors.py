"""The error of a config, told apart from the others by its exit code."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError


class ConfigError(PipelineError):
    """A mistake on the command line or in a config file (exit code 2)."""
