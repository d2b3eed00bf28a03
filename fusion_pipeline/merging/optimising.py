"""CMA-ES over the weights of a merge: every candidate is judged on validation and written down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.judging import Judge, Judged
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.search_spec import SearchSpec


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One candidate: where it came from, what it is, its validation metrics, and what the search minimises."""

    origin: str
    judged: Judged
    validation: dict[str, float]
    value: float
    seconds: float

    @property
    def plan(self) -> Plan:
        """What was merged."""
        return self.judged.plan

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "origin": self.origin,
            "method": self.plan.method.kind,
            "weights": None if self.plan.weights is None else list(self.plan.weights),
            "layer_weights": dict(self.plan.layer_weights),
            "validation": self.validation,
            "value": self.value,
            "seconds": round(self.seconds, 3),
        }


def value_of(metrics: dict[str, float], metric: str, objective: str) -> float:
    """What is minimised: the loss, or −metric with a thousandth of the loss, which only breaks ties."""
    if objective == "loss":
        return metrics["loss"]
    return -metrics[metric] + 1e-3 * math.tanh(metrics["loss"])


def tried(judge: Judge, candidate: Callable[[], Judged], objective: str, origin: str) -> Tried:
    """Judges one candidate on validation."""
    started = time.monotonic()
    judged = candidate()
    metrics = judge.metrics(judged, "validation")
    value = value_of(metrics, judge.data.spec.metric, objective)
    seconds = time.monotonic() - started
    return Tried(origin=origin, judged=judged, validation=metrics, value=value, seconds=seconds)


def optimise(start: Plan, spec: SearchSpec, judged: Callable[[Plan], Tried], *, seed: int) -> list[Tried]:
    """CMA-ES (Hansen 2016, package `cma`) from equal weights within [low, high], `budget` candidates.

    Chosen because it needs no gradient, bears a noisy and stepped objective, learns which weights go together, works
    with few candidates in up to some dozens of dimensions, and asks for numpy alone. Weights that a method cannot take
    (all zero) are refused, and count. Each group of layers has one number an adapter; equal numbers in all groups are
    the plain merge.
    """
    import cma

    patterns = spec.patterns(start)
    count = len(start.sources) * len(patterns)
    middle = min(max(1 / len(start.sources), spec.low), spec.high)
    options = {"bounds": [spec.low, spec.high], "seed": seed + 1, "verbose": -9, "maxfevals": spec.budget}
    # One number has no covariance to learn, and cma refuses it: a second one is drawn and ignored.
    search = cma.CMAEvolutionStrategy([middle] * max(count, 2), spec.spread * (spec.high - spec.low), options)
    trace = _Trace(start=start, spec=spec, patterns=patterns, judged=judged, found=[])
    while not search.stop() and trace.left:
        points = search.ask()
        values = [trace.value(point[:count]) for point in points]
        # A generation that the budget cuts short teaches nothing more.
        if None not in values:
            search.tell(points, values)
    return trace.found


@dataclass(kw_only=True)
class _Trace:
    """What was tried so far, and what is left of the budget."""

    start: Plan
    spec: SearchSpec
    patterns: Sequence[str]
    judged: Callable[[Plan], Tried]
    found: list[Tried]
    refused: int = 0

    @property
    def left(self) -> int:
        """Candidates that may still be tried."""
        return self.spec.budget - len(self.found) - self.refused

    def value(self, point: Sequence[float]) -> float | None:
        """What cma is told of a point: infinity of one that cannot be merged, None when the budget is used up."""
        if not self.left:
            return None
        weights = self.spec.weights(self.patterns, point)
        try:
            plan = replace(self.start, **_laid(weights))
        except PipelineError:
            self.refused += 1
            return math.inf
        self.found.append(self.judged(plan))
        return self.found[-1].value


def _laid(weights: dict[str, list[float]]) -> dict[str, Any]:
    """The fields of a plan: weights of adapters, or of groups of layers."""
    if list(weights) == ["*"]:
        return {"weights": weights["*"], "layer_weights": {}}
    return {"weights": None, "layer_weights": weights}
