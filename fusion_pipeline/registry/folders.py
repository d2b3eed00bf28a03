"""Where the yaml files lie, and which options a config group has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_added: list[Path] = []
# Folders of configs that are not ours to compose: Hydra's own, and wandb's sweeps.
_OTHERS = {"hydra", "sweep"}


def config_dir() -> Path:
    """The installed configs: inside the wheel, or beside the package in a checkout."""
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(
        "the installed configs are missing", where=str(_PACKAGE), hint="install the package again"
    )


def add_config_dir(folder: str | Path) -> None:
    """Adds a folder of a person's own groups and options, searched after the installed ones."""
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise ConfigError(f"there is no folder '{folder}'", where="--config-dir")
    if path not in _added:
        _added.append(path)


def config_dirs() -> list[Path]:
    """All trusted config folders, the installed one first."""
    return [config_dir(), *_added]


def groups() -> list[str]:
    """The config groups: folders with yaml files."""
    found = {path.parent.name for folder in config_dirs() for path in folder.glob("*/*.yaml")}
    return sorted(found - _OTHERS)


def options(group: str) -> list[str]:
    """The options of a config group: its yaml files."""
    return sorted({path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml")})


def config_file(group: str, name: str) -> Path:
    """The yaml file of one option; an unknown group or option is a ConfigError with did-you-mean."""
    if group not in groups():
        raise ConfigError(f"there is no config group '{group}'", hint=did_you_mean(group, groups()))
    if name not in options(group):
        raise ConfigError(
            f"there is no {group} '{name}'", where=f"{group}={name}", hint=did_you_mean(name, options(group))
        )
    return next(path for folder in config_dirs() if (path := folder / group / f"{name}.yaml").is_file())


def load_yaml(path: Path, *, resolve: bool = True) -> dict[str, Any]:
    """One config file as plain Python; its `defaults` list, which only Hydra follows, is left out."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=resolve)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"the config file cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise ConfigError("the config file does not hold key: value pairs", where=str(path))
    return {str(key): value for key, value in content.items() if key != "defaults"}
