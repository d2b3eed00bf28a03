"""The two plain forms of a fusion: the same weights for every token, and weights of each token's own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fusion_pipeline.adapters.bank import Bank
from fusion_pipeline.fusion.spec import Fused, Fusion
from fusion_pipeline.sites.site import SiteInput


class StaticFusion(Fusion):
    """Δ = Σ_n ω_n ∘ Δ_n with ω the same for every token: one product with scaled up-projections."""

    def scales(self, names: Sequence[str]) -> Tensor:
        """ω (N, 1) or (N, D_out) of these adapters."""
        raise NotImplementedError

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused delta, and as weights (…, N) the scales, each the mean over its dimensions."""
        scales = self.scales(bank.names).to(site.x)
        delta = bank.combine_scaled(scales, bank.hidden(site.x))
        return Fused(delta, scales.mean(-1).expand(*site.x.shape[:-1], len(bank.names)))


class DynamicFusion(Fusion):
    """Δ = Σ_n w_n Δ_n with weights that are a function of the adapter input x."""

    def weights(self, x: Tensor, names: Sequence[str]) -> Tensor:
        """(…, D_in) → (…, N) for these adapters."""
        raise NotImplementedError

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused delta and the weights."""
        weights = self.weights(site.x, bank.names)
        return Fused(bank.combine(weights, bank.hidden(site.x)), weights)
