"""What training seeds contribute to the variance of a mean, where some of them share source adapters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Component:
    """A part of the variance of a mean, and on how many degrees of freedom it was estimated."""

    variance: float
    df: float


def seed_components(
    values: Sequence[float] | np.ndarray, seeds: Sequence[Hashable], clusters: Sequence[Hashable | None]
) -> list[Component]:
    """The parts of the mean's variance that come from seeds and from what seeds have in common.

    values: one a run. seeds: its training seed. clusters: the seed of its source adapters, None where there are
    none. Either every seed has source adapters of one seed (seeds nested in clusters), or of several (crossed).
    Nothing for one value.
    """
    x = np.asarray(values, dtype=float)
    if len(set(clusters)) > 1 and len(set(seeds)) < len(seeds):
        return [*_between(x, seeds), *_between(x, clusters)]
    if 1 < len(set(clusters)) < len(x):
        return _nested(x, clusters)
    return _between(x, range(len(x)))


def _between(x: np.ndarray, groups: Sequence[Hashable]) -> list[Component]:
    """s² of the group means / G."""
    keys = list(dict.fromkeys(groups))
    if len(keys) < 2:
        return []
    means = np.array([x[[g == key for g in groups]].mean() for key in keys])
    return [Component(float(np.var(means, ddof=1)) / len(keys), len(keys) - 1)]


def _nested(x: np.ndarray, clusters: Sequence[Hashable]) -> list[Component]:
    """Analysis of variance: seeds by their spread within clusters, clusters by what their means differ beyond it."""
    keys = list(dict.fromkeys(clusters))
    parts = [x[[c == key for c in clusters]] for key in keys]
    sizes = np.array([len(part) for part in parts])
    n, count = len(x), len(parts)
    within = sum(float(((part - part.mean()) ** 2).sum()) for part in parts) / (n - count)
    between = sum(
        float(size * (part.mean() - x.mean()) ** 2) for size, part in zip(sizes, parts, strict=True)
    )
    typical = (n - (sizes**2).sum() / n) / (count - 1)
    of_cluster = max(0.0, (between / (count - 1) - within) / float(typical))
    return [
        Component(of_cluster * float((sizes**2).sum()) / n**2, count - 1),
        Component(within / n, n - count),
    ]
