"""Retelling: which of four reports tells of the same event as the first one."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.events import Event, changed, draw_event
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

_CHOICES = 4


def _make(draw: Draw, split: str, wanted: int) -> Example:
    event = draw_event(draw, split)
    told: list[Event] = []
    while len(told) < _CHOICES - 1:
        other = changed(event, draw, split)
        if other not in told:
            told.append(other)
    told.insert(wanted, event)
    choices = tuple(one.say(draw, passive=draw.chance(0.5)) for one in told)
    while (context := event.say(draw, passive=draw.chance(0.5))) in choices:
        pass
    return Example(fields=(("context", context), ("question", ""), ("choices", choices)))


TASK = EmbeddedTask(
    name="retelling",
    type="multiple_choice",
    labels=None,
    wants=tuple(range(_CHOICES)),
    doc="Which of four reports tells of the same event?",
    sizes={"train": 1200, "validation": 200, "test": 400},
    make=_make,
)
