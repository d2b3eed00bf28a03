"""Means, deviations and paired tests over seeds and examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference b − a over seeds: mean, its 95 % interval and a two-sided p (paired t-test)."""

    mean: float
    low: float
    high: float
    p: float


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for one value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def paired(a: Sequence[float], b: Sequence[float]) -> Difference | None:
    """The difference of paired runs; None with fewer than two pairs.

    It speaks of the spread over seeds on one test set, not of other test sets: `mcnemar` does that.
    """
    from scipy import stats

    differences = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
    if len(differences) < 2:
        return None
    mean, error = float(differences.mean()), float(stats.sem(differences))
    if error == 0:
        return Difference(mean=mean, low=mean, high=mean, p=1.0 if mean == 0 else 0.0)
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    p = float(stats.ttest_rel(b, a).pvalue)
    return Difference(mean=mean, low=mean - half, high=mean + half, p=p)


def mcnemar(right_a: Sequence[bool], right_b: Sequence[bool]) -> tuple[int, int, float]:
    """(only a right, only b right, exact two-sided p) on the same examples (McNemar 1947)."""
    from scipy import stats

    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return 0, 0, 1.0
    return only_a, only_b, float(stats.binomtest(only_b, only_a + only_b).pvalue)
