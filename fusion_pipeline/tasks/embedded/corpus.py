"""Fills the splits of a task: balanced, distinct, the same every time."""

from __future__ import annotations

from typing import Any

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.task import EmbeddedTask

# Changing the grammar changes the corpus; this word changes the draw without it.
EDITION = "1"


def build(task: EmbeddedTask) -> dict[str, list[dict[str, Any]]]:
    """All splits of a task as rows with text, text_pair (for pairs) and label."""
    return {split: _fill(task, split, size) for split, size in task.sizes.items()}


def _fill(task: EmbeddedTask, split: str, size: int) -> list[dict[str, Any]]:
    draw = Draw(EDITION, task.name, split)
    seen: set[tuple[str, str | None]] = set()
    rows: list[dict[str, Any]] = []
    while len(rows) < size:
        label = len(rows) % len(task.labels)
        example = task.make(draw, split, task.labels[label])
        if (example.text, example.text_pair) in seen:
            continue
        seen.add((example.text, example.text_pair))
        row: dict[str, Any] = {"text": example.text}
        if example.text_pair is not None:
            row["text_pair"] = example.text_pair
        rows.append({**row, "label": label})
    return draw.shuffled(rows)
