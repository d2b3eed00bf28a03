"""Factors side by side: the sum of the updates, never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import Parameters, Spanning


@dataclass(frozen=True, kw_only=True)
class Cat(Spanning):
    """ΔW = Σ wᵢ ΔWᵢ with A = [A₁; A₂; …] and B = [w₁s₁B₁, w₂s₂B₂, …] as they are: the rank is always the sum.

    Of bottleneck adapters, the widths add up and the merged adapter's output is exactly the weighted sum of the
    adapters' outputs: D = [D₁; D₂; …], b likewise, U = [w₁U₁, w₂U₂, …], c = Σ wᵢcᵢ.
    """

    widths_add: ClassVar[bool] = True
    kind: str = "cat"
    normalize: bool = False

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """The weights."""
        return weights

    def rank(self, ranks: Sequence[int], asked: int | None, *, limit: int) -> int:
        """The sum; refuses any other."""
        if asked is not None and asked != sum(ranks):
            raise PipelineError(
                f"cat keeps every factor: the rank is {sum(ranks)}, and rank={asked} is asked for",
                where="rank",
                hint="method=svd or method=linear cuts to a rank",
            )
        return sum(ranks)

    def merge_parameters(
        self, parameters: Sequence[Parameters], weights: Sequence[float], draws: Draws
    ) -> dict[str, Tensor]:
        """The bottlenecks side by side."""
        pairs = list(zip(parameters, weights, strict=True))
        return {
            "down.weight": torch.cat([p["down.weight"] for p in parameters]),
            "down.bias": torch.cat([p["down.bias"] for p in parameters]),
            "up.weight": torch.cat([p["up.weight"] * w for p, w in pairs], dim=1),
            "up.bias": torch.stack([p["up.bias"] * w for p, w in pairs]).sum(0),
        }
