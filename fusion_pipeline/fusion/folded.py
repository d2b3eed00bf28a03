"""AdapterFusion in evaluation: two matrix products a site, whatever the number of adapters.

With A = Wkᵀ Wq, d = Wkᵀ bq, U and C the stacked up-projections and their biases (scales folded in):

    x → [ D x + b | Uᵀ(A x + d) | C (A x + d) ]        first product
    z = φ(·), scores = Σ_R z ∘ Uᵀ(Ax+d) + C(Ax+d), p = softmax(scores / T)
    [ p ∘ z | p ] → Wv [ U | Cᵀ ]                       second product

A query from before the norm, or h among the values, needs one product more: another tensor comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import LowRankBank, Stack, weight_version
from fusion_pipeline.fusion.spec import Fused, softmax_over_adapters
from fusion_pipeline.sites.site import SiteInput

if TYPE_CHECKING:
    from fusion_pipeline.fusion.adapterfusion import AdapterFusion


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The two folded matrices; `into` is split in two where the query has an input of its own."""

    stack: Stack
    down: Tensor
    down_bias: Tensor
    query: Tensor
    query_bias: Tensor
    both: Tensor
    both_bias: Tensor
    out: Tensor


class FoldedFusion:
    """Folds one fusion over one bank and keeps the result until a weight changes or the fusion trains."""

    def __init__(self, fusion: AdapterFusion) -> None:
        # In a list, so that the fusion does not become its own submodule's owner.
        self._owner = [fusion]
        self._cached: tuple[object, Folded] | None = None

    def __call__(self, site: SiteInput, bank: LowRankBank) -> Fused:
        """The fused delta and the weights."""
        fusion = self._owner[0]
        folded = self._folded(bank)
        pre, query = self._first_product(fusion, folded, site)
        hidden = bank.activate(pre)
        width = folded.stack.up.shape[1]
        scores = folded.stack.per_adapter(query[..., :width] * hidden) + query[..., width:]
        weights = softmax_over_adapters(scores)
        mixed = torch.cat([folded.stack.spread(weights, hidden), weights], dim=-1)
        return Fused(fusion.with_residual(F.linear(mixed, folded.out), site), weights)

    @staticmethod
    def _first_product(fusion: AdapterFusion, folded: Folded, site: SiteInput) -> tuple[Tensor, Tensor]:
        width = folded.stack.up.shape[1]
        if not fusion.spec.query_before_norm:
            both = F.linear(site.x, folded.both, folded.both_bias)
            return both[..., :width], both[..., width:]
        query = F.linear(fusion.query_input(site), folded.query, folded.query_bias)
        return F.linear(site.x, folded.down, folded.down_bias), query

    def _folded(self, bank: LowRankBank) -> Folded:
        fusion = self._owner[0]
        # The bank itself is part of it: ids of weights that are gone could come back.
        version = (bank, weight_version(fusion.parameters()), bank.version())
        if self._cached is None or self._cached[0] != version:
            self._cached = (version, fold(fusion, bank.stack()))
        return self._cached[1]

    def forget(self) -> None:
        """Drops what is kept: a fused optimiser is about to change the weights without a trace."""
        self._cached = None


def fold(fusion: AdapterFusion, stack: Stack) -> Folded:
    """Builds the folded matrices, in float32 or wider, in the dtype of the weights.

    Shapes: down (ΣR, D_in), query (ΣR + N, D_in), out (D_out, ΣR + N).
    """
    dtype = fusion.query.weight.dtype
    wide = dtype if dtype.itemsize >= 4 else torch.float32
    device = fusion.query.weight.device.type
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
        ups = _ups(stack).to(wide)
        key, query = fusion.key.weight.to(wide), fusion.query.weight.to(wide)
        # (ΣR + N, D_out)·Wkᵀ: what every score multiplies the query with; 1/T goes in here too.
        left = (ups.T @ key.T) / fusion.spec.temperature
        folded, folded_bias = left @ query, left @ fusion.query.bias.to(wide)
        out = ups if fusion.value is None else fusion.value.weight.to(wide) @ ups
        down = stack.down.to(wide)
        bias = down.new_zeros(down.shape[0]) if stack.down_bias is None else stack.down_bias.to(wide)
        return Folded(
            stack=stack,
            down=down.to(dtype),
            down_bias=bias.to(dtype),
            query=folded.to(dtype),
            query_bias=folded_bias.to(dtype),
            both=torch.cat([down, folded]).to(dtype),
            both_bias=torch.cat([bias, folded_bias]).to(dtype),
            out=out.to(dtype),
        )


def _ups(stack: Stack) -> Tensor:
    """[U | Cᵀ]: (D_out, ΣR + N)."""
    bias = (
        stack.up.new_zeros(len(stack.widths), stack.up.shape[0]) if stack.up_bias is None else stack.up_bias
    )
    return torch.cat([stack.up, bias.T], dim=1)
