"""Single labels: one value as it stands in a file, read as a number or a word."""

from __future__ import annotations

import math
import re
from typing import Any

Label = int | float | str

# '007' is a word (it would not survive being a number), and so is '1_000', which Python's float() takes.
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ODD_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_PADDED = re.compile(r"[+-]?0[0-9]+")


def read_label(value: Any) -> Label:
    """A label as a whole number, another number or a word; ValueError says why a value is none of them.

    Text from a CSV file and typed values from JSON or Parquet come out alike: '1', 1 and 1.0 are one label.
    """
    if value is None or value == "":
        raise ValueError("has no label")
    if isinstance(value, bool):
        return label_text(value)
    if isinstance(value, int | float):
        return _whole_if_it_is(value)
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, list | tuple):
        raise ValueError(
            "has a list as its label: say the type, multi_label_classification or token_classification"
        )
    raise ValueError(f"has a label that is neither a number nor a word ({type(value).__name__})")


def label_text(value: Label | bool) -> str:
    """A label as a class name: true and false as JSON writes them, 3.0 as '3'."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, str) else str(_whole_if_it_is(value))


def is_number_text(text: str) -> bool:
    """Whether a text is nothing but a number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def is_finite(label: Label) -> bool:
    """False for NaN and the infinities."""
    return isinstance(label, str) or math.isfinite(label)


def _whole_if_it_is(value: int | float) -> int | float:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _from_text(text: str) -> Label:
    if not text:
        raise ValueError("has no label")
    if _WHOLE.fullmatch(text):
        return int(text)
    if (_NUMBER.fullmatch(text) and not _PADDED.fullmatch(text)) or _ODD_NUMBER.fullmatch(text):
        return _whole_if_it_is(float(text))
    return text
