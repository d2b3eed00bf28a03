"""Metrics of many resamples at once: from sums over examples, weighted by how often each was drawn.

A metric here is a function of weights (B, n), whole numbers from 0 up, and gives (B,): what the metric would be on
each of B samples in which example i occurs w_i times. Almost all metrics are functions of a few sums over
examples, so that B resamples cost one matrix product and not B passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    Weighted = Callable[[np.ndarray], np.ndarray]


def of_sums(values: np.ndarray, combine: Callable[[np.ndarray], np.ndarray]) -> Weighted:
    """combine(w · values). Shapes: values (n, K); combine (B, K) → (B,)."""
    return lambda weights: combine(weights @ values)


def mean(points: Sequence[float]) -> Weighted:
    """Σ w_i points_i / Σ w_i."""
    import numpy as np

    values = np.asarray(points, dtype=float)
    return lambda weights: weights @ values / np.maximum(weights.sum(1), 1)


def of_repeats(score: Callable[[Sequence[int]], float]) -> Weighted:
    """Any metric at all: `score` of the row numbers of each sample, one sample after the other."""
    import numpy as np

    def weighted(weights: np.ndarray) -> np.ndarray:
        rows = np.arange(weights.shape[1])
        return np.array([score(np.repeat(rows, w.astype(int)).tolist()) for w in weights])

    return weighted


def f1_of_counts(hits: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> Weighted:
    """2·hits / (predicted + right) over all examples; 0 for 0 / 0. Shapes: (n,) each."""
    import numpy as np

    both = np.stack([hits, predicted + right], 1).astype(float)
    return of_sums(both, lambda sums: 2 * sums[:, 0] / np.maximum(sums[:, 1], 1))


def ratio(part: np.ndarray, whole: np.ndarray) -> Weighted:
    """Σ part / Σ whole; 0 for 0 / 0. Shapes: (n,) each."""
    import numpy as np

    both = np.stack([part, whole], 1).astype(float)
    return of_sums(both, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))


def of_classes(metric: str, said: np.ndarray, right: np.ndarray, classes: int) -> Weighted:
    """`accuracy`, `f1` (class 1), `f1_macro` or `matthews` of class numbers (n,)."""
    import numpy as np

    eye = np.eye(classes)
    parts = np.stack([eye[said] * (said == right)[:, None], eye[said], eye[right]], 1)

    def combine(sums: np.ndarray) -> np.ndarray:
        hits, predicted, true = np.moveaxis(sums.reshape(len(sums), 3, classes), 1, 0)
        return _BY_CLASS[metric](hits, predicted, true)

    return of_sums(parts.reshape(len(parts), -1), combine)


def correlation(said: np.ndarray, right: np.ndarray) -> Weighted:
    """Pearson's, 0 where either is constant. Shapes: (n,)."""
    import numpy as np

    # Centred first: the sums of squares then lose no digits.
    x, y = said - said.mean(), right - right.mean()
    values = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)
    return of_sums(values, _pearson)


def rank_correlation(said: np.ndarray, right: np.ndarray) -> Weighted:
    """Spearman's: Pearson's of the sample's own ranks, ties at their mean rank. Shapes: (n,)."""
    import numpy as np

    ranks = [_ranker(said), _ranker(right)]

    def weighted(weights: np.ndarray) -> np.ndarray:
        x, y = (rank(weights) for rank in ranks)
        n = weights.sum(1)
        x, y = x - (n[:, None] + 1) / 2, y - (n[:, None] + 1) / 2
        terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
        return _pearson(np.stack([(weights * term).sum(1) for term in terms], 1))

    return weighted


def _ranker(values: np.ndarray) -> Weighted:
    """(B, n) → (B, n): the mean rank that each value has in each sample."""
    import numpy as np

    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))

    def ranks(weights: np.ndarray) -> np.ndarray:
        sizes = np.add.reduceat(weights[:, order], starts, axis=1)
        below = np.cumsum(sizes, 1) - sizes
        return (below + (sizes + 1) / 2)[:, group]

    return ranks


def _pearson(sums: np.ndarray) -> np.ndarray:
    import numpy as np

    n, x, y, xx, yy, xy = np.moveaxis(sums, 1, 0)
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    scale = np.maximum(n * xx, 1e-300) * np.maximum(n * yy, 1e-300)
    flat = spread <= 1e-20 * scale
    return np.where(flat, 0.0, (n * xy - x * y) / np.sqrt(np.where(flat, 1.0, spread)))


def _accuracy(hits: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    import numpy as np

    return hits.sum(1) / np.maximum(right.sum(1), 1)


def _class_f1(hits: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    import numpy as np

    return 2 * hits / np.maximum(predicted + right, 1)


def _macro(hits: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Over the classes that a sample has or says, as scikit-learn does."""
    import numpy as np

    seen = (predicted + right > 0).sum(1)
    return _class_f1(hits, predicted, right).sum(1) / np.maximum(seen, 1)


def _matthews(hits: np.ndarray, predicted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(c·n − Σ_k p_k t_k) / √((n² − Σ p_k²)(n² − Σ t_k²)) (Gorodkin 2004); 0 for 0 / 0."""
    import numpy as np

    n = right.sum(1)
    spread = (n**2 - (predicted**2).sum(1)) * (n**2 - (right**2).sum(1))
    together = hits.sum(1) * n - (predicted * right).sum(1)
    return np.where(spread > 0, together / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


_BY_CLASS = {
    "accuracy": _accuracy,
    "f1": lambda hits, predicted, right: _class_f1(hits, predicted, right)[:, 1],
    "f1_macro": _macro,
    "matthews": _matthews,
}
