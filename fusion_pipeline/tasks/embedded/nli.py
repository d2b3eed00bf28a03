"""Natural language inference: narrower and broader words, quantifiers and negation."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.facts import draw_fact
from fusion_pipeline.tasks.embedded.meaning import GROUP, SINGLE, Statement, premises_for
from fusion_pipeline.tasks.embedded.sentiment import review
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

LABELS = ("entailment", "neutral", "contradiction")


def infer(draw: Draw, split: str, label: str) -> tuple[str, str]:
    """A premise and a hypothesis in this relation.

    The hypothesis is drawn first, whatever the label, so that it alone says nothing about the label.
    """
    group = GROUP if draw.chance(0.75) else SINGLE
    while True:
        hypothesis = Statement(draw.pick(group), draw.pick(("narrow", "broad")))
        if all(premises_for(hypothesis, other) for other in LABELS):
            break
    premise = draw.pick(premises_for(hypothesis, label))
    fact = draw_fact(draw, split)
    text = fact.say(premise, draw)
    while (claim := fact.say(hypothesis, draw)) == text:
        pass
    return text, claim


def _make(draw: Draw, split: str, label: str) -> Example:
    premise, hypothesis = infer(draw, split, label)
    if draw.chance(0.15):
        premise = f"{review(draw, split, positive=draw.chance(0.5))} {premise}"
    return Example(text=premise, text_pair=hypothesis)


TASK = EmbeddedTask(
    name="nli",
    labels=LABELS,
    pair=True,
    doc="Does the second sentence follow from the first? Broader words, quantifiers and negation decide.",
    sizes={"train": 3000, "validation": 300, "test": 600},
    make=_make,
)
