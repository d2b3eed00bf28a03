"""Sentiment: negation, intensity and contrast decide, not the words themselves."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw, within
from fusion_pipeline.tasks.embedded.events import draw_event
from fusion_pipeline.tasks.embedded.facts import draw_fact
from fusion_pipeline.tasks.embedded.meaning import GROUP, OBJECTS, SINGLE, Statement
from fusion_pipeline.tasks.embedded.opinions import BAD, GOOD, STRONG, WEAK, Opinion, draw_opinion
from fusion_pipeline.tasks.embedded.people import sentence
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# {main} decides, {side} says the opposite.
CONTRAST = (
    "although {side}, {main}", "{main}, although {side}", "even though {side}, {main}", "{main}, even if {side}",
    "{side}, but {main}", "while {side}, {main}", "{side}; still, {main}", "{main}, and it hardly matters that {side}",
)  # fmt: skip
AGREE = ("{main}, and {side}", "{side}, and {main}", "{main}; besides, {side}")
DEGREE = (
    "the {x} was {weak} {side} but {strong} {main}", "the {x} was {strong} {main}, if {weak} {side}",
    "the {x} was {strong} {main} and only {weak} {side}",
)  # fmt: skip


def review(draw: Draw, split: str, *, positive: bool) -> str:
    """A sentence whose overall verdict is positive or negative."""
    shape = draw.pick(("single", "single", "contrast", "contrast", "contrast", "agree", "degree"))
    if shape == "degree":
        return sentence(_degree(draw, split, positive=positive))
    first = draw_opinion(draw, split)
    main = first.say(draw, positive=positive)
    if shape == "single":
        return sentence(main)
    other = draw_opinion(draw, split, avoid=first.aspect)
    side = other.say(draw, positive=positive if shape == "agree" else not positive)
    return sentence(draw.pick(AGREE if shape == "agree" else CONTRAST).format(main=main, side=side))


def _degree(draw: Draw, split: str, *, positive: bool) -> str:
    mains, sides = (GOOD, BAD) if positive else (BAD, GOOD)
    opposed: list[Opinion] = []
    while not opposed:
        main = draw_opinion(draw, split, words=mains)
        opposed = within(split, (Opinion(aspect=main.aspect, word=word) for word in sides))
    side = draw.pick(opposed)
    return draw.pick(DEGREE).format(
        x=main.aspect, main=main.word, side=side.word, strong=draw.pick(STRONG), weak=draw.pick(WEAK)
    )


def _make(draw: Draw, split: str, label: str) -> Example:
    verdict = review(draw, split, positive=label == "positive")
    return Example(text=f"{verdict} {aside(draw, split)}" if draw.chance(0.15) else verdict)


def aside(draw: Draw, split: str) -> str:
    """A sentence that reports something and judges nothing."""
    if draw.chance(0.5):
        return draw_event(draw, split).say(draw, passive=draw.chance(0.5))
    return draw_fact(draw, split).say(Statement(draw.pick(GROUP + SINGLE), draw.pick(OBJECTS)), draw)


TASK = EmbeddedTask(
    name="sentiment",
    labels=("negative", "positive"),
    pair=False,
    doc="Is the verdict good or bad? Negation, intensity and contrast decide.",
    sizes={"train": 2000, "validation": 300, "test": 600},
    make=_make,
)
