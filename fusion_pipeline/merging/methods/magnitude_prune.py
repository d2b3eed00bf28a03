"""Each update's largest elements, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fusion_pipeline.merging.consensus import largest
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import Elementwise, require_density


@dataclass(frozen=True, kw_only=True)
class MagnitudePrune(Elementwise):
    """ΔW = Σ wᵢ τᵢ, τᵢ the `density` largest elements of ΔWᵢ and zero elsewhere; normalised by Σ wᵢ."""

    kind: str = "magnitude_prune"
    density: float = 0.5

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, tensors: Sequence[Tensor], weights: Sequence[float], draws: Draws) -> Tensor:
        """Prune, then sum."""
        terms = (w * largest(t, self.density) for w, t in zip(weights, tensors, strict=True))
        return sum(terms)  # type: ignore[return-value]
