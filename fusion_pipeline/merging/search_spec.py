"""How weights are searched for."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError, require

if TYPE_CHECKING:
    from fusion_pipeline.merging.plan import Plan

OBJECTIVES = ("metric", "loss")


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """What is searched for, and how long.

    Args:
        budget: Merges that are judged on validation, those that the search starts from not counted.
        groups: Groups of layers with weights of their own, from the lowest up; 1 is one weight an adapter.
        objective: `metric`, the task's primary one, ties broken by the loss; or `loss`.
        low: The smallest weight that is tried; below 0 an adapter may be taken away.
        high: The largest.
        spread: The standard deviation of the first draws, as a share of high − low.
    """

    budget: int = 40
    groups: int = 1
    objective: str = "metric"
    low: float = 0.0
    high: float = 1.0
    spread: float = 0.3

    def __post_init__(self) -> None:
        require(self.budget >= 1, "budget", self.budget, "a whole number from 1")
        require(self.groups >= 1, "groups", self.groups, "a whole number from 1")
        require(self.objective in OBJECTIVES, "objective", self.objective, " or ".join(OBJECTIVES))
        require(self.low < self.high < float("inf"), "low", self.low, f"below high={self.high}")
        require(self.low > -float("inf"), "low", self.low, "a finite number")
        require(0 < self.spread <= 1, "spread", self.spread, "above 0, at most 1")

    def patterns(self, plan: Plan) -> list[str]:
        """The groups as patterns of `layer_weights`; refuses more groups than there are layers."""
        from fusion_pipeline.merging.paths import layer_of

        layers = sorted({n for path in plan.modules if (n := layer_of(path)[1]) is not None})
        require(self.groups <= max(len(layers), 1), "groups", self.groups, f"1 to {len(layers)}, the layers")
        if self.groups == 1:
            return ["*"]
        edges = [round(i * len(layers) / self.groups) for i in range(self.groups + 1)]
        parts = [layers[low:high] for low, high in itertools.pairwise(edges)]
        return [f"{part[0]}-{part[-1]}" for part in parts]

    def weights(self, patterns: Sequence[str], flat: Sequence[float]) -> dict[str, list[float]]:
        """{pattern: weights of its adapters} from one number for each, group after group."""
        count = len(flat) // len(patterns)
        return {p: [float(w) for w in flat[i * count : (i + 1) * count]] for i, p in enumerate(patterns)}


def require_cma() -> None:
    """Refuses to begin without the optimiser."""
    if importlib.util.find_spec("cma") is None:
        raise PipelineError(
            "searching weights needs the package cma",
            where="search",
            hint="pip install 'fusion-pipeline[search]'",
        )
