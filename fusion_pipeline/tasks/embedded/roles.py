"""Roles: who did it, to whom, and when, tagged word by word; the voice decides, not the order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.events import Event, draw_event
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

ROLES = ("agent", "patient", "time")
LABELS = ("O", *(f"{begin}-{role}" for role in ROLES for begin in "BI"))


def words_of(text: str) -> tuple[str, ...]:
    """Words and signs, apart."""
    return tuple(re.findall(r"\w+|[^\w\s]", text))


def _tags(words: Sequence[str], event: Event) -> list[int]:
    plain = [word.lower() for word in words]
    tags = [0] * len(words)
    for role, said in zip(ROLES, (f"the {event.agent}", f"the {event.patient}", event.occasion), strict=True):
        first, second = said.lower().split()
        at = next(i for i in range(len(plain) - 1) if plain[i : i + 2] == [first, second])
        tags[at], tags[at + 1] = LABELS.index(f"B-{role}"), LABELS.index(f"I-{role}")
    return tags


def _make(draw: Draw, split: str, wanted: str) -> Example:
    event = draw_event(draw, split)
    words = words_of(event.say(draw, passive=wanted == "passive"))
    return Example(fields=(("tokens", words),), label=_tags(words, event))


TASK = EmbeddedTask(
    name="roles",
    type="token_classification",
    metric="f1",
    labels=LABELS,
    wants=("active", "passive"),
    doc="Who did it, to whom, and when? The voice decides.",
    sizes={"train": 800, "validation": 200, "test": 400},
    make=_make,
    label="tags",
)
