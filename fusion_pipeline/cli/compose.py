"""From Hydra's DictConfig to plain Python, every key accounted for. No config object goes further."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion_pipeline.cli import keys, trainer_fields
from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry import ConfigError, config_dir, config_file, groups, load_yaml, options


def plain(config: DictConfig) -> dict[str, Any]:
    """The composed config as dicts, lists and plain values."""
    try:
        missing = sorted(OmegaConf.missing_keys(config) - keys.LITERAL)  # the text "???" is a text
        content = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        what = str(error).strip().splitlines()[0]
        raise ConfigError(what, where=getattr(error, "full_key", None) or "config") from error
    assert isinstance(content, dict)
    if missing:
        raise ConfigError("this option must be given", where=missing[0], hint=f"{missing[0]}=…")
    return {str(key): value for key, value in content.items()}


def check(config: dict[str, Any]) -> None:
    """Refuses a config without a stage, and keys that nothing reads."""
    stage = config.get("stage")
    if stage is None:
        raise ConfigError("no stage is given", where="stage", hint="one of\n" + stage_lines("    stage="))
    if not isinstance(stage, dict) or not {"name", "_target_"} <= stage.keys():
        raise ConfigError("this is not a stage", where="stage", hint="one of\n" + stage_lines("    stage="))
    root = load_yaml(config_dir() / "config.yaml", resolve=False)
    known = {*root, *groups(), *_stage_keys(str(stage["name"]))} - {"hydra"}
    for key, value in config.items():
        if key not in known:
            raise ConfigError(f"there is no option '{key}'", where="config", hint=did_you_mean(key, known))
        is_section = isinstance(root[key], dict) if key in root else key in groups() and key not in keys.PLAIN
        if is_section and not isinstance(value, dict):
            raise ConfigError(
                f"{value!r} cannot stand for the options of '{key}'", where=key, hint=f"{key}.…=…"
            )
    trainer_fields.check_section(config.get("trainer") or {})


def _stage_keys(name: str) -> set[str]:
    """What a stage's own yaml adds to the root config."""
    if name not in options("stage"):
        return set()
    return set(load_yaml(config_file("stage", name), resolve=False))


def stage_lines(indent: str) -> str:
    """One line for each stage: its name and what it does."""
    names = options("stage")
    width = max((len(name) for name in names), default=0)
    lines = [f"{indent}{name:{width}}  {stage_help(name)}" for name in names]
    return "\n".join(lines)


def stage_help(name: str) -> str:
    """What a stage does, from its yaml."""
    stage = load_yaml(config_file("stage", name), resolve=False).get("stage")
    return str(stage.get("help", "")) if isinstance(stage, dict) else ""
