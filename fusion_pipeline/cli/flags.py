"""The words that start with a dash. Hydra's own, but for those that would break a promise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry import ConfigError

_REFUSED = {
    "--experimental-rerun": "it unpickles a file, and nothing here does",
    "--config-path": "--config-dir adds a folder of your own groups and options",
}
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


class _Parser(argparse.ArgumentParser):
    """Tells a person instead of printing Hydra's usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, where="command line", hint="--help lists what there is")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Flags and overrides in any order; an unknown flag is a ConfigError."""
    parser = _parser()
    for word in words:
        flag = word.partition("=")[0]
        if flag in _REFUSED or flag == "-cp":
            raise ConfigError(
                f"{flag} cannot be used here", hint=_REFUSED.get(flag, _REFUSED["--config-path"])
            )
    flags, unknown = parser.parse_known_intermixed_args(list(words))
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        flag = unknown[0].partition("=")[0]
        hint = f"values are written without dashes: {unknown[0].lstrip('-')}" if "=" in unknown[0] else None
        raise ConfigError(
            f"there is no flag '{flag}'", where="command line", hint=hint or did_you_mean(flag, known)
        )
    return flags


def hydra_words(flags: argparse.Namespace) -> list[str]:
    """The flags that Hydra itself gets."""
    words = [
        word
        for name in ("multirun", "run", "resolve", "hydra_help", "shell_completion")
        if getattr(flags, name)
        for word in (f"--{name.replace('_', '-')}",)
    ]
    for name in ("cfg", "package", "config_name", "info"):
        if getattr(flags, name) is not None:
            words += [f"--{name.replace('_', '-')}", getattr(flags, name)]
    return words


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False, prog="fusion-pipeline")
    parser.add_argument("overrides", nargs="*")
    for short, long in (("-h", "--help"), ("-V", "--version"), ("-m", "--multirun"), ("-r", "--run")):
        parser.add_argument(short, long, action="store_true")
    for flag in ("--resolve", "--hydra-help"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    for short, long in (("-p", "--package"), ("-cn", "--config-name"), ("-cd", "--config-dir")):
        parser.add_argument(short, long)
    return parser
