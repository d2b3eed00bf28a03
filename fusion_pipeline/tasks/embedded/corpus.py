"""Fills the splits of a task: balanced, distinct, the same every time."""

from __future__ import annotations

from typing import Any

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# Changing the grammar changes the corpus; changing this word redraws it.
EDITION = "1"

Row = dict[str, Any]


def build(task: EmbeddedTask) -> dict[str, list[tuple[Example, int]]]:
    """All splits of a task as examples with the number of their label."""
    return {split: _fill(task, split, size) for split, size in task.sizes.items()}


def as_row(example: Example, label: int) -> Row:
    """An example as a row: text, text_pair (for pairs), label."""
    pair = {} if example.text_pair is None else {"text_pair": example.text_pair}
    return {"text": example.text, **pair, "label": label}


def _fill(task: EmbeddedTask, split: str, size: int) -> list[tuple[Example, int]]:
    draw = Draw(EDITION, task.name, split)
    seen: set[Example] = set()
    filled: list[tuple[Example, int]] = []
    while len(filled) < size:
        label = len(filled) % len(task.labels)
        example = task.make(draw, split, task.labels[label])
        if example not in seen:
            seen.add(example)
            filled.append((example, label))
    return draw.shuffled(filled)
