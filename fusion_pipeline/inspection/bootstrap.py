"""How much of a difference between two sets of answers to the same examples is noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.scoring import TaskOutputs


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a change does to a metric: changed − unchanged, with its 95 % paired bootstrap interval over examples.

    `worse` and `better`: how many examples are answered worse and better (right → wrong, or by the metric of one
    example); `p` is the sign test's, McNemar's exact test where answers are right or wrong.
    """

    metric: float
    loss: float
    difference: float
    low: float
    high: float
    worse: int
    better: int
    p: float

    def as_json(self) -> dict[str, float]:
        """As a dict."""
        return asdict(self)


def effect(changed: TaskOutputs, unchanged: TaskOutputs, *, scale: float, drawn: np.ndarray) -> Effect:
    """The effect on the primary metric. Shapes: drawn (resamples, n), how often each example is in each draw."""
    everything = np.ones((1, len(changed.ids)))
    weights = np.concatenate([everything, drawn])
    now = metrics(changed, weights)
    difference = now - metrics(unchanged, weights)
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    one, other = points(changed), points(unchanged)
    worse, better = int((one < other - 1e-12).sum()), int((one > other + 1e-12).sum())
    return Effect(
        metric=float(now[0]),
        loss=changed.metrics(scale)["loss"],
        difference=float(difference[0]),
        low=float(low),
        high=float(high),
        worse=worse,
        better=better,
        p=sign_test(worse, better),
    )


def sign_test(worse: int, better: int) -> float:
    """Two-sided, exact; 1 where nothing changed."""
    from scipy import stats

    return float(stats.binomtest(better, worse + better).pvalue) if worse + better else 1.0


def draw(count: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, count): how often each example is in each of the bootstrap's draws with putting back."""
    return np.random.default_rng([seed, 2]).multinomial(count, np.full(count, 1 / count), size=resamples)


def metrics(outputs: TaskOutputs, weights: np.ndarray) -> np.ndarray:
    """The primary metric with example i counted w_i times. Shapes: (B, n) → (B,)."""
    spec = outputs.spec
    return task_type(spec.type).weighted(spec.metric, *_words(outputs), spec.labels)(weights)


def points(outputs: TaskOutputs) -> np.ndarray:
    """How well each example is answered, (n,): the more the better, 1 for right."""
    kind = task_type(outputs.spec.type)
    return np.array([kind.points(said, right) for said, right in zip(*_words(outputs), strict=True)])


def _words(outputs: TaskOutputs) -> tuple[list[Any], list[Any]]:
    """What is said of the examples and what is right, in the words of predictions."""
    if isinstance(task_type(outputs.spec.type), RowType):
        return [answer.prediction for answer in outputs.answers()], outputs.right()
    names = outputs.spec.labels
    if names is None:
        return outputs.predictions().tolist(), outputs.labels.tolist()
    return [names[int(n)] for n in outputs.predictions()], [names[int(n)] for n in outputs.labels]
