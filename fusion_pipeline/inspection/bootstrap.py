"""How much of a difference between two sets of answers to the same examples is noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fusion_pipeline.tasks import scores
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.scoring import TaskOutputs

Score = Callable[[np.ndarray], float]
"""The metric of the examples at these positions, which may repeat."""


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


def effect(changed: TaskOutputs, unchanged: TaskOutputs, *, scale: float, draws: np.ndarray) -> Effect:
    """The effect on the primary metric. Shapes: draws (resamples, n) of positions."""
    new, old = metric_of(changed), metric_of(unchanged)
    every = np.arange(len(changed.ids))
    differences = resampled(changed, draws) - resampled(unchanged, draws)
    low, high = np.quantile(differences, [0.025, 0.975])
    one, other = each(changed), each(unchanged)
    worse, better = int((one < other - 1e-12).sum()), int((one > other + 1e-12).sum())
    return Effect(
        metric=new(every),
        loss=changed.metrics(scale)["loss"],
        difference=new(every) - old(every),
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


def drawn(count: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples, count) positions, drawn with putting back."""
    return np.random.default_rng([seed, 2]).integers(0, count, size=(resamples, count))


def resampled(outputs: TaskOutputs, draws: np.ndarray) -> np.ndarray:
    """The metric on every draw: (resamples,)."""
    if outputs.spec.metric == "accuracy" and outputs.spec.labels is not None and not _own(outputs):
        return each(outputs)[draws].mean(1)
    score = metric_of(outputs)
    return np.array([score(draw) for draw in draws])


def metric_of(outputs: TaskOutputs) -> Score:
    """The task's primary metric as a function of positions."""
    kind, spec = task_type(outputs.spec.type), outputs.spec
    if isinstance(kind, RowType):
        said, right = [answer.prediction for answer in outputs.answers()], outputs.right()
        return lambda at: _typed(kind, [said[i] for i in at], [right[i] for i in at], spec)
    predicted, labels, function = outputs.predictions(), outputs.labels, getattr(scores, spec.metric)
    return lambda at: float(function(predicted[at], labels[at]))


def each(outputs: TaskOutputs) -> np.ndarray:
    """How well each example is answered, (n,): 1 or 0 for a class, −|error| for a value, else its own metric."""
    kind, spec = task_type(outputs.spec.type), outputs.spec
    if isinstance(kind, RowType):
        pairs = zip(outputs.answers(), outputs.right(), strict=True)
        return np.array([_typed(kind, [answer.prediction], [right], spec) for answer, right in pairs])
    if spec.labels is None:
        return -np.abs(outputs.predictions() - outputs.labels)
    return (outputs.predictions() == outputs.labels).astype(float)


def _own(outputs: TaskOutputs) -> bool:
    return isinstance(task_type(outputs.spec.type), RowType)


def _typed(kind: RowType, said: Sequence[Any], right: Sequence[Any], spec: Any) -> float:
    return float(kind.score(said, right, spec.labels)[spec.metric])
