"""Seeded choices that come out the same on every machine, process and Python version."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")

# How much of the grammar's content belongs to each split.
SHARES = (("train", 0.60), ("validation", 0.15), ("test", 0.25))


class Content(Protocol):
    """What a sentence says apart from its wording; `key` names it and decides its split."""

    @property
    def key(self) -> str:
        """The template and what fills its slots, as one string."""


C = TypeVar("C", bound=Content)

# Far more than the rarest split needs: running out means a slot with too few fillings.
_TRIES = 2000


def _digest(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest(), "big")


def split_of(key: str) -> str:
    """The one split in which this content may appear, whichever task uses it."""
    position = _digest("split", key) / 2**256
    for split, share in SHARES:
        if position < share:
            return split
        position -= share
    return SHARES[-1][0]


def within(split: str, contents: Iterable[C]) -> list[C]:
    """Those contents that belong to this split."""
    return [content for content in contents if split_of(content.key) == split]


class Draw:
    """A stream of choices seeded by words.

    Only `Random.random()` is used: of all its methods it alone promises the same numbers in every Python.
    """

    def __init__(self, *seed: str) -> None:
        self._random = random.Random(_digest("draw", *seed))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self._random.random() * len(options))]

    def two(self, options: Sequence[T]) -> tuple[T, T]:
        """Two different options, in random order."""
        first, step = (
            int(self._random.random() * len(options)),
            int(self._random.random() * (len(options) - 1)),
        )
        return options[first], options[(first + 1 + step) % len(options)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order."""
        return [
            item for _, item in sorted(((self._random.random(), i), item) for i, item in enumerate(items))
        ]

    def content(self, split: str, make: Callable[[], C]) -> C:
        """Content made by `make` that belongs to this split."""
        for _ in range(_TRIES):
            if split_of((made := make()).key) == split:
                return made
        raise AssertionError(f"the grammar has no content like this for {split}")
