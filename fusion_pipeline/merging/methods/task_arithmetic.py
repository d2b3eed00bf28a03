"""Task arithmetic: updates added and subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from fusion_pipeline.merging.method import Spanning


@dataclass(frozen=True, kw_only=True)
class TaskArithmetic(Spanning):
    """ΔW = λ Σ wᵢ ΔWᵢ, `scaling` is λ; a negative weight takes a skill away (Ilharco et al., ICLR 2023)."""

    kind: str = "task_arithmetic"
    normalize: bool = False
    scaling: float = 1.0

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """λ·wᵢ."""
        return [self.scaling * weight for weight in weights]
