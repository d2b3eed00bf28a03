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
    stage = next((p[2] for word in reversed(words) if (p := keys.split(word)) and p[1] == "stage"), None)
    if stage not in options("stage"):
        return list(words)
    content = load_yaml(config_file("stage", stage), resolve=False)
    group = content["stage"].get("options_of")
    if group is None:
        return list(words)
    root = load_yaml(config_dir() / "config.yaml", resolve=False)
    own = _option_keys(group) - {*content, *root}
    return [_spelled_out(word, group, own) for word in words]


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
