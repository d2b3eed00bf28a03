"""The difference of two contenders that answered the same test examples with several seeds, and how sure it is.

Two things vary: which examples happened to be in the test set, and how training happened to go. The paired
bootstrap draws examples, the same for both contenders and all seeds, and gives what they contribute for any
metric. What seeds contribute is the spread of the differences between seeds. A seed's own answers to these very
examples would be in both; they are taken out of the first. (Drawing examples and seeds at random alike would count
them three times (Owen 2007, The pigeonhole bootstrap), and few seeds drawn from few seeds spread too little.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_pipeline.compare.seed_variance import Component, seed_components

if TYPE_CHECKING:
    from fusion_pipeline.tasks.weighted import Weighted

DRAWS = 2000
_CELLS = 4_000_000  # of a block of weights: 32 MB


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A paired difference b − a: mean over seeds, its 95 % interval, a two-sided p, and where its variance is from.

    p is that of 0 under the same t distribution, so that the interval excludes 0 exactly where p < 0.05.
    """

    mean: float
    low: float
    high: float
    p: float
    example_variance: float = 0.0
    seed_variance: float = 0.0
    df: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One seed's runs of both contenders on the same test examples.

    `a`, `b`: their metric as a function of how often each example is drawn. `cluster`: what seeds may have in
    common, the seed of the source adapters below b (or a).
    """

    a: Weighted
    b: Weighted
    seed: int
    cluster: int | None = None


def difference(pairs: Sequence[Pair], examples: int, *, draws: int = DRAWS, seed: int = 0) -> Difference:
    """b − a with its interval over test examples and seeds.

    mean ± t_{0.975, df}·√max(v, v' + s): v the bootstrap variance of the mean over examples, v' the part of it that
    all seeds have alike, s that of seeds, df those of v' + s after Satterthwaite (1946). With one seed s is unknown,
    and the interval is of these two runs only.
    """
    drawn = _drawn_differences(pairs, examples, draws, np.random.default_rng(seed))
    observed = _at(pairs, np.ones((1, examples)))[:, 0]
    over_examples = float(drawn.mean(0).var(ddof=1))
    alike = max(0.0, over_examples - _answer_noise(drawn, over_examples) / len(pairs))
    parts = seed_components(observed, [p.seed for p in pairs], [p.cluster for p in pairs])
    parts = [*parts, Component(alike, max(examples - 1, 1))]
    return _difference(float(observed.mean()), parts, over_examples)


def combined(differences: Sequence[Difference]) -> Difference:
    """The mean of differences on several targets, taken as these targets; their test sets are independent."""
    count = len(differences)
    variances = [(one.example_variance + one.seed_variance, one.df) for one in differences]
    parts = [Component(variance / count**2, df) for variance, df in variances]
    return _difference(sum(one.mean for one in differences) / count, parts, 0.0)


def drawn_weights(examples: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each example is in each of `draws` samples of as many examples. Shape: (draws, n)."""
    rows = rng.integers(examples, size=(draws, examples)) + examples * np.arange(draws)[:, None]
    return np.bincount(rows.ravel(), minlength=draws * examples).reshape(draws, examples).astype(float)


def blocks(examples: int, draws: int) -> list[int]:
    """Sizes of blocks of draws that fit into memory."""
    size = max(1, min(draws, _CELLS // max(examples, 1)))
    return [min(size, draws - start) for start in range(0, draws, size)]


def _drawn_differences(
    pairs: Sequence[Pair], examples: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """b − a of every pair in every sample. Shape: (S, draws)."""
    parts = [_at(pairs, drawn_weights(examples, size, rng)) for size in blocks(examples, draws)]
    return np.concatenate(parts, 1)


def _at(pairs: Sequence[Pair], weights: np.ndarray) -> np.ndarray:
    return np.stack([pair.b(weights) - pair.a(weights) for pair in pairs])


def _answer_noise(drawn: np.ndarray, over_examples: float) -> float:
    """The part of one seed's variance that is its own answers' on these examples, not all seeds' alike."""
    seeds = len(drawn)
    if seeds < 2:
        return 0.0
    alone = float(drawn.var(axis=1, ddof=1).mean())
    return max(0.0, (alone - over_examples) * seeds / (seeds - 1))


def _difference(mean: float, parts: Sequence[Component], over_examples: float) -> Difference:
    from scipy import stats

    summed = sum(part.variance for part in parts)
    total = max(summed, over_examples)
    if total <= 0:
        return Difference(mean=mean, low=mean, high=mean, p=1.0 if mean == 0 else 0.0)
    spread = sum(part.variance**2 / part.df for part in parts)
    df = summed**2 / spread if spread > 0 else parts[-1].df
    error = float(np.sqrt(total))
    half = float(stats.t.ppf(0.975, df)) * error
    return Difference(
        mean=mean,
        low=mean - half,
        high=mean + half,
        p=float(2 * stats.t.sf(abs(mean) / error, df)),
        example_variance=over_examples,
        seed_variance=total - over_examples,
        df=float(df),
    )


def swap_test(pairs: Sequence[tuple[Weighted, Weighted]], examples: int, *, draws: int = DRAWS) -> float:
    """Two-sided p of the mean difference when every example's answers may as well be the other contender's.

    Approximate randomisation (Noreen 1989): exact for any metric and any number of examples, up to the draws; the
    answers of all seeds to an example are exchanged together. p = (1 + #{|d*| ≥ |d|}) / (1 + draws). Each pair is the
    metric of a's answers followed by b's, (B, 2n) → (B,), given twice: once for each contender's share.
    """
    rng = np.random.default_rng(0)
    none = np.zeros((1, examples))
    observed = abs(_swapped(pairs, none)[0])
    exceeded = 0
    for size in blocks(examples, draws):
        swapped = rng.integers(2, size=(size, examples)).astype(float)
        exceeded += int((abs(_swapped(pairs, swapped)) >= observed - 1e-12).sum())
    return (1 + exceeded) / (1 + draws)


def _swapped(pairs: Sequence[tuple[Weighted, Weighted]], swapped: np.ndarray) -> np.ndarray:
    as_a = np.concatenate([1 - swapped, swapped], 1)
    as_b = np.concatenate([swapped, 1 - swapped], 1)
    return np.mean([second(as_b) - first(as_a) for first, second in pairs], axis=0)
