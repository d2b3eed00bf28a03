"""The composed target: does the report back the claim? Which source task decides depends on the kind of claim."""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.nli import infer
from fusion_pipeline.tasks.embedded.paraphrase import reports
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence
from fusion_pipeline.tasks.embedded.sentiment import review
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# Claims that any praise backs and any complaint does not.
PLEASED = (
    "the {p} recommends it", "the {p} was pleased", "the {p} would do it again", "the {p} gives full marks",
    "the {p} left happy", "the {p} thinks well of it",
)  # fmt: skip
LABELS = ("unsupported", "supported")


def opinion_claim(draw: Draw, split: str, *, backed: bool) -> tuple[str, str]:
    """A review and the claim that its writer was pleased: sentiment decides."""
    return review(draw, split, positive=backed), sentence(draw.pick(PLEASED).format(p=draw.pick(PEOPLE)))


def fact_claim(draw: Draw, split: str, *, backed: bool) -> tuple[str, str]:
    """A statement and what is said to follow from it: inference decides."""
    return infer(draw, split, "entailment" if backed else draw.pick(("neutral", "contradiction")))


def event_claim(draw: Draw, split: str, *, backed: bool) -> tuple[str, str]:
    """A report and its retelling: paraphrase decides."""
    return reports(draw, split, same=backed)


# The source task that decides, and its kind of claim.
CLAIMS = {"sentiment": opinion_claim, "nli": fact_claim, "paraphrase": event_claim}


def _make(draw: Draw, split: str, label: str) -> Example:
    decided_by = draw.pick(tuple(CLAIMS))
    text, claim = CLAIMS[decided_by](draw, split, backed=label == "supported")
    return Example(text=text, text_pair=claim, decided_by=decided_by)


TASK = EmbeddedTask(
    name="review_check",
    labels=LABELS,
    pair=True,
    doc="Does the report back the claim? Sentiment, nli or paraphrase decides, by the kind of claim.",
    sizes={"train": 240, "validation": 300, "test": 900},
    make=_make,
    composed_of=tuple(CLAIMS),
)
