"""How often a comparison calls two equal contenders different.

    python scripts/check_statistics.py [repeats]

Synthetic answers: examples that are easy for both contenders, for one of them, or by chance; seeds that do better or
worse; source adapters that do better or worse for all seeds over them. Beside the report's own interval stand two
that are often used: a paired t-test over seeds alone, and percentiles of a bootstrap that draws seeds and examples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from scipy import stats

from fusion_pipeline.compare.intervals import Pair, difference, drawn_weights
from fusion_pipeline.tasks.weighted import mean

# (test examples, seeds, seeds of source adapters or 0, deviation of seeds, of source adapters; in logits)
DESIGNS = (
    (277, 1, 0, 0.0, 0.0),
    (277, 3, 0, 0.2, 0.0),
    (277, 5, 0, 0.0, 0.0),
    (277, 5, 0, 0.2, 0.0),
    (277, 5, 0, 0.6, 0.0),
    (1700, 5, 0, 0.2, 0.0),
    (60, 5, 0, 0.2, 0.0),
    (277, 6, 3, 0.2, 0.2),
    (277, 5, 2, 0.2, 0.2),
)
DRAWS = 200


def answers(
    draw: np.random.Generator, n: int, seeds: int, sources: int, sd: float, source_sd: float
) -> np.ndarray:
    """Right or wrong of two equal contenders. Shape: (2, seeds, n)."""
    common = 0.5 + draw.normal(0, 1.5, n)
    own = draw.normal(0, 0.75, (2, n))
    shift = draw.normal(0, source_sd, max(sources, 1))
    found = np.empty((2, seeds, n))
    for seed in range(seeds):
        for side in (0, 1):
            lift = shift[seed % len(shift)] if side and sources else 0.0
            logit = common + own[side] + draw.normal(0, sd) + lift
            found[side, seed] = draw.random(n) < 1 / (1 + np.exp(-logit))
    return found


def report(right: np.ndarray, sources: int, seed: int) -> bool:
    """Whether the report's interval excludes 0."""
    pairs = [
        Pair(a=mean(a), b=mean(b), seed=i, cluster=i % sources if sources else None)
        for i, (a, b) in enumerate(zip(*right, strict=True))
    ]
    return difference(pairs, right.shape[2], draws=DRAWS, seed=seed).p < 0.05


def over_seeds(right: np.ndarray) -> bool:
    """Whether a paired t-test over seeds alone rejects."""
    gains = (right[1] - right[0]).mean(1)
    return len(gains) > 1 and np.ptp(gains) > 0 and bool(stats.ttest_1samp(gains, 0).pvalue < 0.05)


def plain(right: np.ndarray, draw: np.random.Generator) -> bool:
    """Whether percentiles of a bootstrap over seeds and examples exclude 0."""
    gains = (right[1] - right[0]) @ drawn_weights(right.shape[2], DRAWS, draw).T / right.shape[2]
    picked = draw.integers(len(gains), size=(len(gains), DRAWS))
    low, high = np.percentile(np.take_along_axis(gains, picked, 0).mean(0), [2.5, 97.5])
    return bool(low > 0 or high < 0)


def main(repeats: int) -> int:
    """Prints a line for each design."""
    print(f"equal contenders called different, % of {repeats} (nominal 5)")
    print(
        "| test examples | seeds | source seeds | sd of seeds | sd of sources | report | t-test | bootstrap |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for design in DESIGNS:
        draw, told = np.random.default_rng(0), np.zeros(3)
        for i in range(repeats):
            right = answers(draw, *design)
            told += [report(right, design[2], i), over_seeds(right), plain(right, draw)]
        print(_line(design, 100 * told / repeats), flush=True)
    return 0


def _line(design: Sequence[float], shares: Sequence[float]) -> str:
    cells = [*map(str, design), *(f"{share:.1f}" for share in shares)]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
