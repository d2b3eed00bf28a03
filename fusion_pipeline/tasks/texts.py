"""One text of a row, checked."""

from __future__ import annotations

from typing import Any


def check_text(row: Any, column: str) -> str:
    """The row's text; ValueError says why it is none."""
    text = row.get(column)
    if text is None:
        raise ValueError(f"has no '{column}'")
    if not isinstance(text, str):
        raise ValueError(f"has a {type(text).__name__} in '{column}' where text should be: {str(text)[:40]}")
    if not text.strip():
        raise ValueError(f"has an empty '{column}'")
    if not text.isascii():
        _check_encodable(text, column)
    return text


def _check_encodable(text: str, column: str) -> None:
    # JSON can spell half of a surrogate pair (\ud83d alone), which no tokenizer takes.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"has a broken character (half a surrogate pair) in '{column}'") from None
