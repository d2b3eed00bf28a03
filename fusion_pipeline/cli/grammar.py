"""Values as Hydra's override grammar reads them, and how to write a text that it reads back unchanged."""

from __future__ import annotations

import functools
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

_INTERPOLATION = re.compile(r"(\\*)\$\{")
_OPEN, _CLOSE = "[{(", "]})"


@functools.cache
def _parser() -> Any:
    return OverridesParser.create()


def read(value: str) -> Any:
    """The parsed override of a value; None where the grammar refuses it."""
    try:
        parsed = _parser().parse_rule(f"key={value}", "override")
    except (HydraException, ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, Override) else None


def is_sweep(value: str) -> bool:
    """Whether the value stands for several values."""
    parsed = read(value)
    return parsed is not None and bool(parsed.is_sweep_override())


def quoted(text: str) -> str:
    """A text that Hydra and OmegaConf read back exactly as it is, `${` included."""
    escaped = _INTERPOLATION.sub(lambda match: match[1] * 2 + r"\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()


def split_commas(value: str) -> list[str]:
    """The parts between the commas outside of quotes and brackets, without the blanks around them."""
    parts, depth, quote = [""], 0, ""
    for character in value:
        begins = not parts[-1].strip()
        if quote:
            quote = "" if character == quote and not parts[-1].endswith("\\") else quote
        elif character in "'\"" and begins:  # elsewhere it is an apostrophe
            quote = character
        elif character == "," and depth == 0:
            parts.append("")
            continue
        depth += 0 if quote else (character in _OPEN) - (character in _CLOSE)
        parts[-1] += character
    if quote or depth:  # unbalanced: none of them was a bracket or quote
        parts = value.split(",")
    return [part.strip() for part in parts]
