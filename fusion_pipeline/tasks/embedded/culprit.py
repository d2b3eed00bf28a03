"""Culprit: who did it, or to whom it was done, as a span of two reports."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.events import Event, draw_event
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example


def _two_events(draw: Draw, split: str) -> tuple[Event, Event]:
    """Two acts among four people, so that one person is right."""
    first = draw_event(draw, split)
    while True:
        second = draw_event(draw, split)
        apart = not {first.agent, first.patient} & {second.agent, second.patient}
        if apart and first.act is not second.act:
            return first, second


def _make(draw: Draw, split: str, wanted: str) -> Example:
    asked, other = _two_events(draw, split)
    if wanted == "agent":
        question, person = f"Who {draw.pick(asked.act.actives)} the {asked.patient}?", asked.agent
    else:
        question, person = f"Who was {draw.pick(asked.act.passives)} by the {asked.agent}?", asked.patient
    said = [event.say(draw, passive=draw.chance(0.5)) for event in (asked, other)]
    context = " ".join(draw.shuffled(said))
    start = context.lower().index(f"the {person}")
    text = context[start : start + len(f"the {person}")]
    label = {"text": [text], "answer_start": [start]}
    return Example(fields=(("context", context), ("question", question)), label=label)


TASK = EmbeddedTask(
    name="culprit",
    type="span_qa",
    metric="f1",
    labels=None,
    wants=("agent", "patient"),
    doc="Who did it, or to whom was it done? The answer is a span of two reports.",
    sizes={"train": 800, "validation": 200, "test": 400},
    make=_make,
    label="answers",
)
