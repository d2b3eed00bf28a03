"""Installed yaml → spec. `_target_` in installed configs is the registry; there is no table of classes.

Only the installed configs and the folders a person adds (`--config-dir`) are trusted to name something to
import. An artefact's manifest stores a component's `kind` and values: `build(group, kind, **values)`.
"""

from fusion_pipeline.registry.build import build, build_from, locate
from fusion_pipeline.registry.errors import ConfigError
from fusion_pipeline.registry.folders import (
    add_config_dir,
    config_dir,
    config_dirs,
    config_file,
    groups,
    load_yaml,
    options,
)

__all__ = [
    "ConfigError",
    "add_config_dir",
    "build",
    "build_from",
    "config_dir",
    "config_dirs",
    "config_file",
    "groups",
    "load_yaml",
    "locate",
    "options",
]
