"""What banks of explicit deltas have in common: their `hidden` is every delta, (…, N, D_out)."""

from __future__ import annotations

from torch import Tensor

from fusion_pipeline.adapters.bank import Hidden


class ExplicitBank:
    """Scores, sums and deltas over deltas that were built one by one."""

    names: tuple[str, ...]

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
        """The deltas, as they are."""
        return hidden
