"""Weighted average of the updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fusion_pipeline.merging.method import Spanning


@dataclass(frozen=True, kw_only=True)
class Linear(Spanning):
    """ΔW = Σ wᵢ ΔWᵢ / Σ wᵢ, exactly; without `normalize` the weighted sum."""

    kind: str = "linear"

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """The weights."""
        return weights
