"""A bank of deltas that are there already: what a fusion of fusions mixes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusion_pipeline.adapters.bank import Hidden


class DeltaBank:
    """Deltas (…, N, D_out) under names, as a bank; its `hidden` is the deltas themselves."""

    def __init__(self, names: Sequence[str], deltas: Sequence[Tensor]) -> None:
        self.names = tuple(names)
        self._deltas = torch.stack(list(deltas), dim=-2)

    def hidden(self, x: Tensor) -> Hidden:
        """(…, N, D_out), whatever x is."""
        return self._deltas

    def scores(self, query: Tensor, hidden: Hidden) -> Tensor:
        """⟨query, Δ_n⟩: (…, D_out), (…, N, D_out) → (…, N)."""
        return (hidden @ query.unsqueeze(-1)).squeeze(-1)

    def combine(self, weights: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n w_n Δ_n: (…, N), (…, N, D_out) → (…, D_out)."""
        return (weights.unsqueeze(-2) @ hidden).squeeze(-2)

    def combine_scaled(self, scales: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n ω_n ∘ Δ_n: (N, D_out) or (N, 1), (…, N, D_out) → (…, D_out)."""
        return (scales * hidden).sum(-2)

    def deltas(self, hidden: Hidden) -> Tensor:
        """Every delta: (…, N, D_out)."""
        return hidden

    def subset(self, names: Sequence[str]) -> DeltaBank:
        """Some of the deltas, in the order of the names."""
        return DeltaBank(names, [self._deltas[..., self.names.index(name), :] for name in names])
