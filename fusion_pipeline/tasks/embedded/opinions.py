"""Opinions: what somebody thinks of something, said plainly, negated, and more or less strongly."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_pipeline.tasks.embedded.draw import Draw

ASPECTS: tuple[str, ...] = tuple(
    """
    service room soup film concert tour guide menu view breakfast music plot cast ending hotel garden lecture
    museum pool novel pasta coffee ride trip exhibition play meal dessert speech lesson course match beach
    shop phone camera laptop game bed staff
    """.split()
)
GOOD: tuple[str, ...] = tuple(
    """
    good pleasant lovely charming delightful impressive enjoyable satisfying wonderful memorable great nice
    appealing splendid brilliant excellent
    """.split()
)
BAD: tuple[str, ...] = tuple(
    """
    bad unpleasant dull awful dreadful boring disappointing tedious annoying terrible poor horrible
    mediocre lousy tiresome miserable
    """.split()
)
PLAIN = (
    "the {x} was {w}", "the {x} was {w}", "the {x} was really {w}", "I found the {x} {w}", "the {x} was quite {w}",
    "everyone called the {x} {w}", "the {x} seemed {w}",
)  # fmt: skip
NEGATED = (
    "the {x} was not {w}", "the {x} was never {w}", "the {x} was far from {w}", "the {x} was anything but {w}",
    "I did not find the {x} {w}", "nobody called the {x} {w}", "the {x} was by no means {w}",
    "the {x} did not seem {w}",
)  # fmt: skip
WEAK = ("a little", "slightly", "a bit", "somewhat")
STRONG = ("extremely", "utterly", "incredibly", "absolutely")


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """Something and a word for it; whether that is praise depends on the wording."""

    aspect: str
    word: str

    @property
    def key(self) -> str:
        """The content, whether affirmed or denied."""
        return f"opinion|{self.aspect}|{self.word}"

    def say(self, draw: Draw, *, positive: bool) -> str:
        """A clause with this polarity, which denies the word where the word says the opposite."""
        wordings = PLAIN if (self.word in GOOD) == positive else NEGATED
        return draw.pick(wordings).format(x=self.aspect, w=self.word)


def draw_opinion(draw: Draw, split: str, *, avoid: str = "", words: tuple[str, ...] = GOOD + BAD) -> Opinion:
    """An opinion whose content belongs to this split, about anything but `avoid`."""
    aspects = [aspect for aspect in ASPECTS if aspect != avoid]
    return draw.content(split, lambda: Opinion(aspect=draw.pick(aspects), word=draw.pick(words)))
