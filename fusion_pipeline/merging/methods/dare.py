"""DARE: drop elements at random and rescale the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fusion_pipeline.merging.consensus import agreed
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import Elementwise, require_density


@dataclass(frozen=True, kw_only=True)
class Dare(Elementwise):
    """Yu et al., ICML 2024, on the dense ΔW of each module: τᵢ = mᵢ ∘ ΔWᵢ / p, m ~ Bernoulli(p), p the `density`.

    `combining=linear`: Σ wᵢτᵢ (normalised by Σ wᵢ), whose expectation is the weighted average; `combining=ties`: sign
    election and mean as in TIES, without its trimming. Masks depend on `seed=`, the input and the module only. Raises
    `PipelineError` for a density out of range.
    """

    kind: str = "dare"
    density: float = 0.5
    combining: Literal["linear", "ties"] = "linear"

    def __post_init__(self) -> None:
        require_density(self.density)

    def prepared(self, weights: Sequence[float]) -> tuple[float, ...]:
        """Shares for the sum; as they are for the election, whose mean divides by those that agree."""
        return tuple(weights) if self.combining == "ties" else super().prepared(weights)

    def combine(self, tensors: Sequence[Tensor], weights: Sequence[float], draws: Draws) -> Tensor:
        """Drop, rescale, then sum or elect."""
        dropped = [self._dropped(tensor, draws, index) for index, tensor in enumerate(tensors)]
        if self.combining == "ties":
            return agreed(dropped, weights, mean=self.normalize)
        return sum(w * t for w, t in zip(weights, dropped, strict=True))  # type: ignore[return-value]

    def _dropped(self, tensor: Tensor, draws: Draws, index: int) -> Tensor:
        if self.density == 1:
            return tensor
        chance = torch.rand(tensor.shape, generator=draws.generator(index), dtype=torch.float32)
        return tensor * (chance < self.density) / self.density
