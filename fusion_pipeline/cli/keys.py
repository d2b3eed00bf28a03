"""How the value of a key is to be read: which keys hold text, and which hold names and paths."""

from __future__ import annotations

import re
from collections.abc import Sequence

LITERAL = frozenset({"text", "text_pair"})
SOURCES = frozenset({"task", "target", "adapters"})
LISTS = SOURCES | {"columns.labels", "columns.choices", "choices"}
_PATHS = (
    SOURCES
    | {"run", "input", "output", "name", "output_root", "data.root", "backbone.path"}
    | {"base", "prompts", "reference", "from_runs", "compare.study", "list", "head_from"}
    | {"probe", "trials", "choices"}
)
# Plain values of the root config. `task` and `prompts` are folders of configs too: Hydra must not take them for groups.
PLAIN = LITERAL | SOURCES | {"run", "input", "output", "name", "output_root", "columns", "prompts", "choices"}
# Mappings whose keys a person makes up: what reads them checks them.
OPEN = ("data.train_sizes.", "compare.settings.", "compare.sources.", "compare.learning_rates.")
_KEY = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[^=]*)=(?P<value>.*)", re.DOTALL)


def split(word: str) -> tuple[str, str, str] | None:
    """A word as (`+` or `++`, key, value); None where it is not key=value."""
    match = _KEY.fullmatch(word)
    return (match["prefix"], match["key"].strip(), match["value"]) if match and match["key"].strip() else None


def given(words: Sequence[str]) -> dict[str, str]:
    """The keys that the words set, each with its value as text."""
    return {parts[1]: parts[2] for word in words if (parts := split(word))}


def is_path(key: str) -> bool:
    """Whether the value is a name, a path, a column, or a list of those: taken as written."""
    return key in _PATHS or key.startswith("columns.")
