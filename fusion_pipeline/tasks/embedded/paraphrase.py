"""Paraphrase: the same event in other words, or the same words for another event."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.events import changed, draw_event
from fusion_pipeline.tasks.embedded.sentiment import review
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example


def reports(draw: Draw, split: str, *, same: bool) -> tuple[str, str]:
    """Two reports of one event, or of two that share most words; voice says nothing about which."""
    event = draw_event(draw, split)
    second = event if same else changed(event, draw, split)
    passive = draw.chance(0.5)
    first = event.say(draw, passive=passive)
    while (again := second.say(draw, passive=not passive if draw.chance(0.6) else passive)) == first:
        pass
    return first, again


def _make(draw: Draw, split: str, label: str) -> Example:
    first, second = reports(draw, split, same=label == "paraphrase")
    if draw.chance(0.15):
        first = f"{review(draw, split, positive=draw.chance(0.5))} {first}"
    return Example(text=first, text_pair=second)


TASK = EmbeddedTask(
    name="paraphrase",
    labels=("different", "paraphrase"),
    pair=True,
    doc="Do both sentences report the same event? Synonyms, voice and who did it to whom decide.",
    sizes={"train": 3000, "validation": 300, "test": 600},
    make=_make,
)
