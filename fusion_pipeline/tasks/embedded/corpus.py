"""Fills the splits of a task: balanced, distinct, the same every time."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# Changing the grammar changes the corpus; changing this word redraws it.
EDITION = "1"

Row = dict[str, Any]


def build(task: EmbeddedTask) -> dict[str, list[tuple[Example, int]]]:
    """All splits of a task as examples with the number of what was wanted."""
    return {split: _fill(task, split, size) for split, size in task.sizes.items()}


def as_row(task: EmbeddedTask, example: Example, wanted: int) -> Row:
    """An example as a row: text and text_pair (for pairs) or its own fields, and its label."""
    texts = {"text": example.text, "text_pair": example.text_pair, **dict(example.fields)}
    row = {key: list(v) if isinstance(v, tuple) else v for key, v in texts.items() if v is not None}
    return row | {task.label: wanted if example.label is None else deepcopy(example.label)}


def _fill(task: EmbeddedTask, split: str, size: int) -> list[tuple[Example, int]]:
    draw = Draw(EDITION, task.name, split)
    seen: set[Example] = set()
    filled: list[tuple[Example, int]] = []
    while len(filled) < size:
        wanted = len(filled) % len(task.wants)
        example = task.make(draw, split, task.wants[wanted])
        if example not in seen:
            seen.add(example)
            filled.append((example, wanted))
    return draw.shuffled(filled)
