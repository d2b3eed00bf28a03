"""The people in the sentences: nouns whose plural is a plain s."""

from __future__ import annotations

PEOPLE: tuple[str, ...] = tuple(
    """
    nurse pilot teacher farmer tourist student neighbour artist driver cousin soldier editor lawyer dancer
    sailor engineer gardener clerk visitor doctor singer baker guide painter waiter manager writer carpenter
    """.split()
)


def sentence(words: str, end: str = ".") -> str:
    """Words as a sentence: a capital at the start, a full stop at the end."""
    return words[0].upper() + words[1:] + end
