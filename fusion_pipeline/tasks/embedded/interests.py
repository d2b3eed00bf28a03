"""Interests: which topics a text's sentences are about, none or several; a topic that is only mentioned is none."""

from __future__ import annotations

from itertools import combinations

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.sentiment import aside
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example
from fusion_pipeline.tasks.embedded.topic import TOPICS, about

LABELS = tuple(TOPICS)
# Every set of two topics or fewer.
SETS = tuple(chosen for count in range(3) for chosen in combinations(LABELS, count))
_ASIDE = 0.3  # of texts that are about something


def _make(draw: Draw, split: str, wanted: tuple[str, ...]) -> Example:
    sentences = [about(draw, split, topic) for topic in wanted]
    if not wanted or draw.chance(_ASIDE):
        sentences.append(aside(draw, split))
    label = sorted(LABELS.index(topic) for topic in wanted)
    return Example(text=" ".join(draw.shuffled(sentences)), label=label, decided_by="topic")


TASK = EmbeddedTask(
    name="interests",
    type="multi_label_classification",
    metric="f1_micro",
    labels=LABELS,
    wants=SETS,
    doc="Which topics are the sentences about? Other topics are mentioned beside them.",
    sizes={"train": 880, "validation": 330, "test": 660},
    make=_make,
    composed_of=("topic",),
)
