"""What quantified statements mean, and which follow from which: settled by trying every small world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations_with_replacement, product
from typing import NamedTuple

# A person in a small world has (or has not) the narrow thing, its sibling, any third thing of their kind.
Person = tuple[bool, bool, bool]
World = tuple[Person, ...]

_QUANTIFIERS: dict[str, Callable[[int, int], bool]] = {
    "all": lambda count, size: count == size,
    "some": lambda count, size: count > 0,
    "no": lambda count, size: count == 0,
    "not_all": lambda count, size: count < size,
    "one": lambda count, size: count == 1,
    "not_one": lambda count, size: count == 0,
}
GROUP = ("all", "some", "no", "not_all")
SINGLE = ("one", "not_one")
OBJECTS = ("narrow", "broad", "sibling")


class Statement(NamedTuple):
    """'All of them / one of them ... (the narrow thing | the broad thing | the sibling)'."""

    quantifier: str
    thing: str

    def holds(self, world: World) -> bool:
        """Whether the statement is true in this world."""
        has: Callable[[Person], bool] = {
            "narrow": lambda p: p[0],
            "sibling": lambda p: p[1],
            "broad": any,
        }[self.thing]
        return _QUANTIFIERS[self.quantifier](sum(map(has, world)), len(world))


def worlds(sizes: tuple[int, ...]) -> Iterator[World]:
    """Every world with this many people, up to their order."""
    people = list(product((False, True), repeat=3))
    for size in sizes:
        yield from combinations_with_replacement(people, size)


@cache
def relation(premise: Statement, hypothesis: Statement) -> str:
    """entailment, contradiction or neutral: true in all, none or some of the worlds where the premise is true."""
    sizes = (1,) if premise.quantifier in SINGLE else (2, 3)
    truths = {hypothesis.holds(world) for world in worlds(sizes) if premise.holds(world)}
    return "neutral" if len(truths) == 2 else ("entailment" if truths == {True} else "contradiction")


@cache
def premises_for(hypothesis: Statement, label: str) -> tuple[Statement, ...]:
    """The premises that stand in this relation to the hypothesis (about the same people)."""
    quantifiers = SINGLE if hypothesis.quantifier in SINGLE else GROUP
    every = (Statement(q, t) for q in quantifiers for t in OBJECTS)
    return tuple(p for p in every if relation(p, hypothesis) == label)
