"""The composed target: does the review back the claim, and if so, is it praise or a complaint?"""

from __future__ import annotations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.nli import infer
from fusion_pipeline.tasks.embedded.paraphrase import reports
from fusion_pipeline.tasks.embedded.sentiment import review
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# How many claims are checked by inference; the others by paraphrase.
NLI_SHARE = 0.5


def _make(draw: Draw, split: str, label: str) -> Example:
    backed = label != "unsupported"
    positive = label == "praise" if backed else draw.chance(0.5)
    verdict = review(draw, split, positive=positive)
    if draw.chance(NLI_SHARE):
        fact, claim = infer(draw, split, "entailment" if backed else draw.pick(("neutral", "contradiction")))
    else:
        fact, claim = reports(draw, split, same=backed)
    return Example(text=f"{verdict} {fact}", text_pair=claim)


TASK = EmbeddedTask(
    name="review_check",
    labels=("unsupported", "complaint", "praise"),
    pair=True,
    doc="Does the review back the claim, and is it praise or a complaint? sentiment x (nli or paraphrase).",
    sizes={"train": 240, "validation": 300, "test": 900},
    make=_make,
    composed_of=("sentiment", "nli", "paraphrase"),
)
