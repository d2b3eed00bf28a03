"""Installed yaml → spec. `_target_` in installed configs is the registry; there is no table of classes.

Only the installed configs and the folders a person adds (`--config-dir`) are trusted to name something to
import. An artefact stores a component's `kind` and values: `build(group, kind, **values)`. A kind that is not
installed is built from the class its artefact names only where the person trusts its module (`trust.py`).
"""

from fusion_pipeline.registry.build import build, build_from, locate
from fusion_pipeline.registry.errors import ConfigError, true_or_false
from fusion_pipeline.registry.folders import (
    add_config_dir,
    config_dir,
    config_dirs,
    config_file,
    groups,
    load_yaml,
    options,
)
from fusion_pipeline.registry.trust import (
    build_recorded,
    check_trust,
    locate_recorded,
    target_of,
    trusting,
)

__all__ = [
    "ConfigError",
    "add_config_dir",
    "build",
    "build_from",
    "build_recorded",
    "check_trust",
    "config_dir",
    "config_dirs",
    "config_file",
    "groups",
    "load_yaml",
    "locate",
    "locate_recorded",
    "options",
    "target_of",
    "true_or_false",
    "trusting",
]
