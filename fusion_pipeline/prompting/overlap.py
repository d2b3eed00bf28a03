"""How much two contenders say the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def rouge_l(one: Sequence[int], other: Sequence[int]) -> float:
    """ROUGE-L F1 (Lin 2004, β = 1) over tokens: 2·LCS / (n + m), LCS the longest common subsequence; two empty: 1."""
    if not one and not other:
        return 1.0
    return 2 * common_length(one, other) / (len(one) + len(other))


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the longest common subsequence, in O(n·m)."""
    row = [0] * (len(other) + 1)
    for token in one:
        before = 0
        for place, there in enumerate(other, start=1):
            before, row[place] = row[place], before + 1 if token == there else max(row[place], row[place - 1])
    return row[-1]


def overlaps(answers: Sequence[Sequence[Sequence[int]]]) -> list[list[float]]:
    """Mean ROUGE-L over prompts of every pair of contenders; `answers` are tokens by contender and prompt."""
    found = [[1.0] * len(answers) for _ in answers]
    # ROUGE-L F1 is the same both ways, and 1 of an answer with itself.
    for (i, one), (j, other) in combinations(enumerate(answers), 2):
        found[i][j] = found[j][i] = sum(map(rouge_l, one, other)) / len(one)
    return found
