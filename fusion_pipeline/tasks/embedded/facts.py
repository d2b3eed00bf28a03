"""Facts with quantifiers: how many of which people did what with which thing."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_pipeline.tasks.embedded.draw import Draw
from fusion_pipeline.tasks.embedded.meaning import Statement
from fusion_pipeline.tasks.embedded.people import PEOPLE, sentence
from fusion_pipeline.tasks.embedded.things import KINDS, Kind

WORDINGS: dict[str, tuple[str, ...]] = {
    "all": ("all of the {p}s {past} {x}", "every {p} {past} {x}", "each of the {p}s {past} {x}"),
    "some": (
        "some of the {p}s {past} {x}",
        "at least one {p} {past} {x}",
        "one or more of the {p}s {past} {x}",
    ),
    "no": ("none of the {p}s {past} {x}", "no {p} {past} {x}", "not a single {p} {past} {x}"),
    "not_all": (
        "not all of the {p}s {past} {x}",
        "not every {p} {past} {x}",
        "some of the {p}s did not {base} {x}",
    ),
    "one": ("the {p} {past} {x}", "it was the {p} who {past} {x}"),
    "not_one": (
        "the {p} did not {base} {x}",
        "the {p} never {past} {x}",
        "it is not true that the {p} {past} {x}",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Who, which verb, which narrow thing; the sibling (also a trout, say, a salmon) only stands beside it."""

    person: str
    verb: tuple[str, str]
    kind: Kind
    narrow: str
    sibling: str

    @property
    def key(self) -> str:
        """The content: person, verb and kind, so that no two splits share 'the nurse ate fish' either."""
        return f"fact|{self.person}|{self.verb[0]}|{self.kind.broad}"

    def say(self, statement: Statement, draw: Draw) -> str:
        """A sentence for a statement about this fact."""
        thing = {"narrow": self.narrow, "broad": self.kind.broad, "sibling": self.sibling}[statement.thing]
        past, base = self.verb
        wording = draw.pick(WORDINGS[statement.quantifier])
        return sentence(wording.format(p=self.person, past=past, base=base, x=thing))


def draw_fact(draw: Draw, split: str) -> Fact:
    """A fact whose content belongs to this split."""
    return draw.content(split, lambda: _any_fact(draw))


def _any_fact(draw: Draw) -> Fact:
    kind = draw.pick(KINDS)
    narrow, sibling = draw.two(kind.narrow)
    return Fact(
        person=draw.pick(PEOPLE), verb=draw.pick(kind.verbs), kind=kind, narrow=narrow, sibling=sibling
    )
