"""Cells of a plain table that stand for more than one value: lists as text, and values spread over several columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Cells:
    """How one's own table spells what a type wants as a list or a record.

    Args:
        separator: Stands between the items of a list that is one text; None: such a text is a JSON list.
        choices: The columns that hold one choice each.
        answer: The column of the answer's text, and `answer_start` that of its first character's position.
    """

    separator: str | None = None
    choices: tuple[str, ...] = ()
    answer: str | None = None
    answer_start: str | None = None


def list_cell(value: Any, column: str, separator: str | None) -> Any:
    """A list that a cell spells as text; what is no text is left as it is. ValueError says what is wrong.

    An empty cell is the empty list. Items between separators are taken without the blanks around them.
    """
    if not isinstance(value, str):
        return value
    if separator is not None:
        return [part for part in map(str.strip, value.split(separator)) if part] if value.strip() else []
    if not value.strip():
        return []
    return _json(
        value, list, f"in '{column}' that is no list", '["a", "b"]; or columns.separator says what is between'
    )


def record_cell(value: Any, column: str) -> Any:
    """A JSON object that a cell spells as text; what is no text is left as it is."""
    return (
        _json(value, dict, f"in '{column}' that is no object", '{"...": ...}')
        if isinstance(value, str)
        else value
    )


def spread_choices(row: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    """The choices of a row from a column each; empty cells at the end are choices that this row has not."""
    values = [row.get(column) for column in columns]
    while values and values[-1] in (None, ""):
        values.pop()
    return [str(value) if isinstance(value, int | float) else value for value in values]


def found_answer(context: str, text: Any, start: Any, column: str) -> dict[str, Any]:
    """An answer and where it begins; without a start it must occur once in its context."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"has no answer in '{column}'")
    if start in (None, ""):
        count = context.count(text)
        if count != 1:
            where = "does not occur in" if not count else f"occurs {count} times in"
            raise ValueError(
                f"has an answer that {where} its context: {text[:40]!r} (columns.answer_start says where)"
            )
        return {"text": [text], "answer_start": [context.index(text)]}
    try:
        return {"text": [text], "answer_start": [int(start)]}
    except (TypeError, ValueError):
        raise ValueError(f"has an answer_start that is no whole number: {start!r}") from None


def _json(value: str, kind: type, what: str, example: str) -> Any:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, kind):
        raise ValueError(f"has text {what}: {value[:40]!r} (JSON is taken, such as {example})")
    return found
