"""TIES: trim, elect a sign, average what agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fusion_pipeline.merging.consensus import agreed, largest
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import Elementwise, require_density


@dataclass(frozen=True, kw_only=True)
class Ties(Elementwise):
    """Yadav et al., NeurIPS 2023, on the dense ΔW of each module.

    1. keep the `density` largest elements of each ΔWᵢ; 2. γ = sign Σ wᵢτᵢ; 3. the mean of the τᵢ of that sign,
    weighted by wᵢ, zeros left out; times `scaling` (λ). `normalize=false` takes the sum in place of the mean. The
    paper trims over all modules at once, here each module keeps its own share. Raises `PipelineError` for a
    density out of range.
    """

    kind: str = "ties"
    density: float = 0.2
    scaling: float = 1.0

    def __post_init__(self) -> None:
        require_density(self.density)

    def prepared(self, weights: Sequence[float]) -> tuple[float, ...]:
        """As they are: the mean divides by those that agree."""
        return tuple(weights)

    def combine(self, tensors: Sequence[Tensor], weights: Sequence[float], draws: Draws) -> Tensor:
        """Trim, elect, merge."""
        trimmed = [largest(tensor, self.density) for tensor in tensors]
        return self.scaling * agreed(trimmed, weights, mean=self.normalize)
