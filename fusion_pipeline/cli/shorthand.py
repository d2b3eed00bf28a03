"""A stage whose yaml says `options_of: GROUP` takes that group's choice and options as words of their own.

`stage=merge method=ties density=0.3` is `stage=merge merge=ties merge.density=0.3`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fusion_pipeline.cli import keys
from fusion_pipeline.registry import config_dir, config_file, load_yaml, options

CHOICE = "method"


def spelled_out(words: Sequence[str]) -> list[str]:
    """The words with every shorthand in full; keys of the stage and of the root config stay what they are."""
    group, own = _of_stage(words)
    return list(words) if group is None else [_spelled_out(word, group, own) for word in words]


def short_words(words: Sequence[str]) -> set[str]:
    """The keys that stand for another in the stage of this command line."""
    group, own = _of_stage(words)
    return set() if group is None else {CHOICE, *own}


def _of_stage(words: Sequence[str]) -> tuple[str | None, set[str]]:
    """The group that the stage's words are options of, and the keys of its options."""
    stage = next((p[2] for word in reversed(words) if (p := keys.split(word)) and p[1] == "stage"), None)
    if stage not in options("stage"):
        return None, set()
    content = load_yaml(config_file("stage", stage), resolve=False)
    group = content["stage"].get("options_of")
    if group is None:
        return None, set()
    root = load_yaml(config_dir() / "config.yaml", resolve=False)
    return group, _option_keys(group) - {*content, *root}


def _option_keys(group: str) -> set[str]:
    """What the yaml files of a group's options hold."""
    found = (load_yaml(config_file(group, name), resolve=False) for name in options(group))
    return {key for section in found for key in section} - {"_target_", "kind"}


def _spelled_out(word: str, group: str, own: set[str]) -> str:
    parts = keys.split(word)
    if parts is None:
        return word
    prefix, key, value = parts
    if key == CHOICE:
        return f"{prefix}{group}={value}"
    return f"{prefix}{group}.{key}={value}" if key in own else word
