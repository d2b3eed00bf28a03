"""Factors averaged apart, as PEFT's `linear` does: for comparison only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import MergeMethod
from fusion_pipeline.merging.update import Update


@dataclass(frozen=True, kw_only=True)
class Factorwise(MergeMethod):
    """A = Σ ±√|wᵢsᵢ| Aᵢ, B = Σ √|wᵢsᵢ| Bᵢ: `add_weighted_adapter(combination_type="linear")` of PEFT 0.21.

    B·A then has the products BᵢAⱼ of different adapters in it and is not the weighted sum of the updates. Here to
    compare with tools that do so. Refuses different ranks and targets.
    """

    kind: str = "factorwise"

    def check(self, ranks: Sequence[Mapping[str, int]], *, parameters: bool) -> None:
        """Refuses ranks that differ, as rows of A cannot be added then; and bottlenecks, which `linear` averages so."""
        if parameters:
            raise PipelineError(
                "factor-wise averaging is for LoRA",
                where="method",
                hint="linear averages a bottleneck's parameters",
            )
        differing = [
            path
            for path in sorted({path for own in ranks for path in own})
            if len({own.get(path, 0) for own in ranks}) > 1
        ]
        if differing:
            listed = ", ".join(differing[:4]) + (", …" if len(differing) > 4 else "")
            raise PipelineError(
                f"factors of different ranks cannot be averaged apart: {listed}",
                where="method",
                hint="every other method takes different ranks and targets",
            )

    def rank(self, ranks: Sequence[int], asked: int | None, *, limit: int) -> int:
        """The inputs' own, or fewer."""
        return max(ranks) if asked is None else min(asked, max(ranks))

    def merge(self, updates: Sequence[Update], weights: Sequence[float], draws: Draws) -> Update:
        """Factor by factor."""
        parts = [(u, w * u.scale) for u, w in zip(updates, weights, strict=True)]
        down = sum(u.down * math.copysign(math.sqrt(abs(f)), f) for u, f in parts)
        up = sum(u.up * math.sqrt(abs(f)) for u, f in parts)
        return Update(down=down, up=up)  # type: ignore[arg-type]
