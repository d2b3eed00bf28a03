"""Means, deviations, exact tests, and the correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10

import numpy as np

from fusion_pipeline.compare.intervals import Difference

POWER = 0.8


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def mcnemar(right_a: Sequence[bool], right_b: Sequence[bool]) -> tuple[int, int, float]:
    """(only a right, only b right, exact two-sided p) on the same examples (McNemar 1947)."""
    from scipy import stats

    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    return only_a, only_b, float(stats.binomtest(only_b, only_a + only_b).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values, in the order given: the k-th smallest of m is max_{j≤k} (m − j + 1)·p_j."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    found = np.empty_like(adjusted)
    found[order] = adjusted
    return found.tolist()


def needed_examples(difference: Difference, examples: int, alpha: float = 0.05) -> int | None:
    """How many test examples would show the observed difference with 80 % power; None if no number would.

    n' = n · v / ((d / (z_{1−α/2} + z_{0.8}))² − s): v is the variance of d from the n test examples, s the part
    that more examples leave as it is (seeds). Of accuracy with one seed, n · v is the discordant rate − d².
    An estimate: d is taken for the true difference. Rounded to two digits.
    """
    from scipy import stats

    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(POWER)
    room = (difference.mean / z) ** 2 - difference.seed_variance
    if difference.mean == 0 or room <= 0 or difference.example_variance <= 0:
        return None
    wanted = examples * difference.example_variance / room
    return _two_digits(wanted)


def _two_digits(value: float) -> int:
    unit = 10 ** max(int(log10(max(value, 1))) - 1, 0)
    return ceil(value / unit) * unit
