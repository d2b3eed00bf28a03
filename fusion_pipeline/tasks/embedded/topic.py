"""Topic: every sentence mentions two topics; its structure says which one it is about."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence
from fusion_pipeline.tasks.embedded.task import EmbeddedTask, Example

# Every verb of a topic fits every noun of it.
TOPICS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "food": (
        ("cooking", "tasting", "preparing", "serving", "ordering", "seasoning"),
        ("soup", "curry", "stew", "noodles", "risotto", "omelette", "dumplings", "salad", "lasagne", "casserole"),
    ),
    "music": (
        ("playing", "rehearsing", "recording", "practising", "composing", "arranging"),
        ("sonata", "ballad", "waltz", "symphony", "anthem", "duet", "melody", "lullaby", "concerto", "march"),
    ),
    "sport": (
        ("winning", "losing", "entering", "missing", "training for", "refereeing"),
        ("marathon", "relay", "hockey match", "tennis final", "rugby game", "boxing bout", "swimming race",
         "basketball game", "football cup", "rowing regatta"),
    ),
    "travel": (
        ("planning", "booking", "joining", "extending", "paying for", "cancelling"),
        ("cruise", "safari", "road trip", "island hike", "train journey", "flight", "city tour", "ferry crossing",
         "camping holiday", "pilgrimage"),
    ),
}  # fmt: skip
# The words right before and after a topic are the same for both, so that no pair of words gives it away.
FRAMES = (
    "the {p} talked about {main} and not about {side}",
    "the {p} talked not about {side} and only about {main}",
    "the {p} spent hours on {main} and minutes on {side}",
    "the {p} spent minutes on {side} and hours on {main}",
    "the letter dealt mostly with {main} and hardly with {side}",
    "the letter dealt hardly with {side} and mostly with {main}",
    "busy with {main}, the {p} had no time for {side}",
    "finished with {side}, the {p} had time for {main}",
    "the {p} thought of {main} instead of {side}",
    "instead of {side}, the {p} thought of {main}",
    "to the {p}, {main} mattered more than {side}",
    "to the {p}, {side} mattered less than {main}",
)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Something people do that belongs to one topic."""

    verb: str
    noun: str

    @property
    def key(self) -> str:
        """The content: verb and noun."""
        return f"activity|{self.verb}|{self.noun}"

    def __str__(self) -> str:
        return f"{self.verb} the {self.noun}"


def _activity(draw: Draw, split: str, topic: str) -> Activity:
    verbs, nouns = TOPICS[topic]
    return draw.content(split, lambda: Activity(verb=draw.pick(verbs), noun=draw.pick(nouns)))


def about(draw: Draw, split: str, topic: str) -> str:
    """A sentence about this topic that mentions another one."""
    main = _activity(draw, split, topic)
    side = _activity(draw, split, draw.pick([other for other in TOPICS if other != topic]))
    return sentence(draw.pick(FRAMES).format(p=draw.pick(PEOPLE), main=main, side=side))


def _make(draw: Draw, split: str, label: str) -> Example:
    return Example(text=about(draw, split, label))


TASK = EmbeddedTask(
    name="topic",
    labels=tuple(TOPICS),
    pair=False,
    doc="Which topic is the sentence about? Another topic is mentioned beside it.",
    sizes={"train": 2000, "validation": 300, "test": 600},
    make=_make,
)
