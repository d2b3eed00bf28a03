"""Answers in words compared as SQuAD does: lower case, without punctuation and articles."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence


def normal(text: str) -> list[str]:
    """The words that are compared."""
    plain = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def best_exact(said: str, right: Sequence[str]) -> float:
    """1 where the words are those of one of the right answers."""
    return float(any(normal(said) == normal(true) for true in right))


def best_f1(said: str, right: Sequence[str]) -> float:
    """F1 of the words, with the right answer that fits best."""
    return max(_f1(normal(said), normal(true)) for true in right)


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    return 2 * (Counter(said) & Counter(right)).total() / (len(said) + len(right))
