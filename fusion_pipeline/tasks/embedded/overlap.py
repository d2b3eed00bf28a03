"""Overlap: in how many of four things two reports agree: who did it, to whom, what, and when."""

from __future__ import annotations

from dataclasses import fields

from fusion_pipeline.tasks.embedded.draw import Draw, within
from fusion_pipeline.tasks.embedded.events import Event, draw_event
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

PARTS = tuple(part.name for part in fields(Event))


def shared(first: Event, second: Event) -> int:
    """How many of the four things are the same; the same person in the other role is not."""
    return sum(getattr(first, part) == getattr(second, part) for part in PARTS)


def _other(draw: Draw, split: str, event: Event, kept: list[str]) -> Event:
    """An event of this split that agrees in what is kept, and in nothing else."""
    while True:
        found = draw_event(draw, split) if draw.chance(0.8) else event.mirrored()
        values = {part: getattr(event if part in kept else found, part) for part in PARTS}
        made = Event(**values)
        if made.agent != made.patient and shared(event, made) == len(kept) and within(split, [made]):
            return made


def _make(draw: Draw, split: str, wanted: int) -> Example:
    event = draw_event(draw, split)
    other = _other(draw, split, event, draw.shuffled(PARTS)[:wanted])
    first, second = (one.say(draw, passive=draw.chance(0.5)) for one in (event, other))
    return Example(text=first, text_pair=second, label=wanted)


TASK = EmbeddedTask(
    name="overlap",
    type="regression",
    metric="pearson",
    labels=None,
    pair=True,
    wants=tuple(range(len(PARTS) + 1)),
    doc="In how many of four things do two reports agree: who, to whom, what, when?",
    sizes={"train": 1500, "validation": 200, "test": 400},
    make=_make,
)
