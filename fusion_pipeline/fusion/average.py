"""The plain mean of the adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusion_pipeline.fusion.forms import StaticFusion


@dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """The mean of the deltas. No parameters: only the head trains. What every other fusion has to beat."""

    kind: str = "average"
    wants: ClassVar[frozenset[str]] = frozenset()

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Average:
        """The fusion of one site."""
        return Average()


class Average(StaticFusion):
    """Δ = (1/N) Σ_n Δ_n. Shapes: x (…, D_in) → delta (…, D_out), weights (…, N)."""

    def scales(self, names: Sequence[str]) -> Tensor:
        """1/N for each of the adapters at hand: (N, 1)."""
        return torch.full((len(names), 1), 1 / len(names), dtype=torch.float64)
