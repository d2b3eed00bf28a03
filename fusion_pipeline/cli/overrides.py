"""The words of a command line as Hydra's overrides.

Hydra reads every value by a grammar: `I don't` is a syntax error there, `a=b,c` two values. Text, names and
paths are quoted here where that is needed, so that they arrive as written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from fusion_pipeline.cli import keys, trainer_fields
from fusion_pipeline.cli.grammar import is_sweep, quoted, read, split_commas
from fusion_pipeline.cli.shorthand import spelled_out
from fusion_pipeline.registry import ConfigError, groups, options

_NAME = re.compile(r"[A-Za-z0-9_+-]+")
_HYDRA = ("hydra.", "hydra/", "~")


def rewrite(words: Sequence[str], *, multirun: bool) -> list[str]:
    """Every word as an override that Hydra reads the way a person means it; else a ConfigError."""
    words = spelled_out(words)
    root = next((parts[2] for word in words if (parts := keys.split(word)) and parts[1] == "data.root"), None)

    def exists(value: str) -> bool:
        return os.path.exists(os.path.expanduser(value)) or bool(
            root and os.path.exists(os.path.join(root, value))
        )

    return [_rewritten(word, multirun, exists) for word in words]


def _rewritten(word: str, multirun: bool, exists: Callable[[str], bool]) -> str:
    if word.startswith(_HYDRA):
        return word
    parts = keys.split(word)
    if parts is None:
        raise ConfigError(f"'{word}' is not key=value", where="command line", hint=_key_for(word))
    prefix, key, value = parts
    if key in keys.LITERAL:
        return f"{prefix}{key}={quoted(value)}"
    if keys.is_path(key):
        return f"{prefix}{key}={_path(key, value, multirun, exists)}"
    _check_plain(key, value, multirun)
    if key.startswith("trainer."):
        trainer_fields.check(key)
        prefix = "++"  # TrainingArguments knows many fields that no yaml lists
    if key.startswith(keys.OPEN):
        prefix = "++"
    return f"{prefix}{key}={value}"


def _key_for(word: str) -> str:
    key = next((group for group in groups() if word in options(group)), None)
    return (
        f"{key}={word}" if key else "--help lists what there is; a text with blanks needs the shell's quotes"
    )


def _check_plain(key: str, value: str, multirun: bool) -> None:
    if read(value) is None:
        raise ConfigError(
            f"the value {value!r} cannot be read",
            where=key,
            hint=f"quotes inside the shell's: '{key}=\"...\"'",
        )
    if not multirun and is_sweep(value):
        _refuse_several(key, value)


def _refuse_several(key: str, value: str) -> None:
    hint = f"{key}=[{value}] is a list; -m makes one run for each"
    raise ConfigError(f"{value!r} is several values", where=key, hint=hint)


def _path(key: str, value: str, multirun: bool, exists: Callable[[str], bool]) -> str:
    if value.lower() in ("", "null"):
        return value
    if exists(value):
        return _element(key, value, multirun, exists)
    parts = split_commas(value)
    if len(parts) > 1:
        if multirun:
            return ",".join(_element(key, part, multirun, exists) for part in parts)
        if key in keys.LISTS and all(_NAME.fullmatch(part) or exists(part) for part in parts):
            _refuse_several(key, value)
    return _element(key, value, multirun, exists)


def _element(key: str, value: str, multirun: bool, exists: Callable[[str], bool]) -> str:
    """One name or path, or a bracketed list of them, quoted where Hydra would read something else."""
    if not exists(value) and value.startswith("[") and value.endswith("]"):
        inner = split_commas(value[1:-1]) if value[1:-1].strip() else []
        return "[" + ",".join(_element(key, part, multirun, exists) for part in inner) + "]"
    parsed = read(value)
    if parsed is None:
        return quoted(value)
    if parsed.is_sweep_override():
        return value if multirun and not exists(value) else quoted(value)
    meant = parsed.value()
    if exists(value):
        return value if meant == value and "${" not in value else quoted(value)
    return value if meant is None or isinstance(meant, str) else quoted(value)  # a folder may be called 1e5
