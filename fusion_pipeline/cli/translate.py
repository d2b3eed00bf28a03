"""Hydra's exceptions in a person's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml
from hydra import compose, initialize
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion_pipeline.cli import keys
from fusion_pipeline.cli.shorthand import short_words
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry import ConfigError, groups, options

COMPOSING = (HydraException, OmegaConfBaseException, yaml.YAMLError)
# Launchers that come with an extra of ours.
_EXTRAS = {"joblib": "parallel", "submitit_local": "slurm", "submitit_slurm": "slurm"}
_KEY = re.compile(r"Could not override '(?P<key>[^']+)'")
_PARENT = re.compile(r"In '(?P<parent>[^']+)'")


def translate(error: Exception, words: Sequence[str]) -> PipelineError:
    """The ConfigError behind an exception of Hydra, OmegaConf or yaml."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error, words)
    match = _KEY.search(str(error))
    if match:
        return _unknown_key(match["key"], words, unused="defaults list" in str(error))
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    told = [line.strip() for part in (error, cause) if part is not None for line in str(part).splitlines()]
    return ConfigError("; ".join(line for line in told[:4] if line) or type(error).__name__, where="config")


def _missing_option(error: MissingConfigException, words: Sequence[str]) -> ConfigError:
    group, _, name = (error.missing_cfg_file or "").removesuffix(".yaml").rpartition("/")
    if not group:
        return ConfigError(f"there is no root config '{name}'", where="--config-name")
    parent = _PARENT.search(str(error))
    typed = any((parts := keys.split(word)) is not None and parts[1:] == (group, name) for word in words)
    written = parent is not None and parent["parent"] != "config" and not typed
    where = f"{group}={name}" + (f" in {parent['parent']}.yaml" if parent and written else "")
    if group == "hydra/launcher" and name in _EXTRAS:
        hint = f"pip install 'fusion-pipeline[{_EXTRAS[name]}]'"
        return ConfigError(f"the launcher '{name}' is not installed", where=where, hint=hint)
    known = [option for option in error.options or options(group) if option != name]
    return ConfigError(f"there is no {group} '{name}'", where=where, hint=did_you_mean(name, known))


def _unknown_key(key: str, words: Sequence[str], *, unused: bool) -> ConfigError:
    if unused:
        return ConfigError(f"the root config uses no group '{key}'", where=key, hint=f"+{key}=OPTION adds it")
    if key in groups():
        hint = f"{key}=OPTION chooses one of {', '.join(options(key))}; {key}.key=value sets what is inside"
        return ConfigError(f"this does not fit the options of '{key}'", where=key, hint=hint)
    if key.startswith("hydra."):
        return ConfigError(
            f"Hydra has no option '{key}'", where="command line", hint="--cfg hydra lists them"
        )
    config = _composed(words)
    section, inside = key, None
    while section and not isinstance(inside, DictConfig):
        section = section.rpartition(".")[0]
        inside = OmegaConf.select(config, section) if section else config
    assert isinstance(inside, DictConfig)
    names = {*map(str, inside), *(() if section else {*groups(), *short_words(words)})} - {"_target_", "kind"}
    known = [f"{section}.{name}" if section else name for name in names]
    return ConfigError(f"there is no option '{key}'", where="command line", hint=did_you_mean(key, known))


def _composed(words: Sequence[str]) -> DictConfig:
    """The config of the groups that the command line chooses, without its other words."""
    chosen = [word for word in words if (parts := keys.split(word)) and parts[2] in options(parts[1])]
    GlobalHydra.instance().clear()
    with initialize(version_base="1.3", config_path=None):
        return compose("config", overrides=chosen)
