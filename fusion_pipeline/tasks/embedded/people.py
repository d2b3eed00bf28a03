"""The people and bodies in the sentences."""

from __future__ import annotations

# Nouns whose plural is a plain s.
PEOPLE: tuple[str, ...] = tuple(
    """
    nurse pilot teacher farmer tourist student neighbour artist driver cousin soldier editor lawyer dancer
    sailor engineer gardener clerk visitor doctor singer baker guide painter waiter manager writer carpenter
    """.split()
)
# Bodies that act like people: what people do to them, they can do to people.
BODIES: tuple[str, ...] = tuple(
    """
    hotel museum school bank team airline council club newspaper hospital theatre library factory college
    agency union charity bakery studio court
    """.split()
)


def sentence(words: str, end: str = ".") -> str:
    """Words as a sentence: a capital at the start, a full stop at the end."""
    return words[0].upper() + words[1:] + end
