"""AdapterFusion over a low-rank bank in three matrix products a token, whatever the number of adapters.

With U and C the stacked up-projections and their biases (scales folded in) and T the temperature:

    Q = [U | Cᵀ]ᵀ Wkᵀ Wq / T,  e = [U | Cᵀ]ᵀ Wkᵀ bq / T,  O = Wv [U | Cᵀ]      once for all tokens
    z = φ(D x + b),  s = Q q + e,  scores = Σ_R z ∘ s_U + s_C,  p = softmax(scores),  Δ = O [p ∘ z | p]

With H heads each has its rows of Wq, Wk and Wv, and so a Q_h, e_h and O_h of its own: (2 + H)·D·S multiplications a
token in place of (1 + 2·H)·D·S + 3·D².

In evaluation Q, e and O are kept until a weight changes, and [D | Q] is one product where the query is x itself. In
training they are built in every step, with their gradients, where the tokens are many enough to pay for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import LowRankBank, weight_version
from fusion_pipeline.adapters.stack import Stack
from fusion_pipeline.fusion.spec import Fused
from fusion_pipeline.sites.site import SiteInput

if TYPE_CHECKING:
    from fusion_pipeline.fusion.adapterfusion import AdapterFusion


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Q (H·(ΣR + N), D_in) with e, O (D_out, ΣR + N), and where one product suffices [D | Q] with its bias."""

    stack: Stack
    query: Tensor
    query_bias: Tensor
    out: Tensor
    both: Tensor | None = None
    both_bias: Tensor | None = None


class FoldedFusion:
    """Folds one fusion over one bank for evaluation, and keeps it until a weight changes or the fusion trains."""

    def __init__(self, fusion: AdapterFusion) -> None:
        # In a list, so that the fusion does not become its own submodule's owner.
        self._owner = [fusion]
        self._cached: tuple[object, Folded] | None = None

    def __call__(self, site: SiteInput, bank: LowRankBank) -> Fused:
        """The fused delta and the weights."""
        return run(self._owner[0], self._folded(bank), site, bank)

    def _folded(self, bank: LowRankBank) -> Folded:
        fusion = self._owner[0]
        # The bank itself is part of it: ids of weights that are gone could come back.
        version = (bank, weight_version(fusion.parameters()), bank.version())
        if self._cached is None or self._cached[0] != version:
            with torch.inference_mode(False), torch.no_grad():
                self._cached = (version, fold(fusion, bank.stack(), joined=not fusion.spec.query_before_norm))
        return self._cached[1]

    def forget(self) -> None:
        """Drops what is kept: a fused optimiser is about to change the weights without a trace."""
        self._cached = None


def pays(tokens: int, dim: int, width: int) -> bool:
    """Whether folding costs fewer multiplications than it saves in a training step.

    Forward and backward of a step take 6·T·D·S + 6·T·D² unfolded and 8·T·D·S + 4·D²·S folded, T tokens and S = ΣR,
    besides what both have.
    """
    return width * (2 * tokens + 4 * dim) < 6 * tokens * dim


def fold(fusion: AdapterFusion, stack: Stack, *, joined: bool = False) -> Folded:
    """Builds the folded matrices with their gradients, in float32 or wider, in the dtype of the weights."""
    dtype = fusion.query.weight.dtype
    wide = dtype if dtype.itemsize >= 4 else torch.float32
    with torch.autocast(fusion.query.weight.device.type, enabled=False):
        ups = stack.ups.to(wide)
        # The narrow side first: (ΣR + N, D_out)·Wkᵀ is what every score multiplies the query with.
        left = (ups.T @ fusion.key.weight.to(wide).T) / fusion.spec.temperature
        query = _by_head(left, fusion.query.weight.to(wide), fusion.spec.heads).to(dtype)
        bias = _by_head(left, fusion.query.bias.to(wide), fusion.spec.heads).to(dtype)
        out = (ups if fusion.value is None else fusion.value.weight.to(wide) @ ups).to(dtype)
        if not joined:
            return Folded(stack=stack, query=query, query_bias=bias, out=out)
        down = stack.down.to(dtype)
        down_bias = down.new_zeros(down.shape[0]) if stack.down_bias is None else stack.down_bias.to(dtype)
        return Folded(
            stack=stack,
            query=query,
            query_bias=bias,
            out=out,
            both=torch.cat([down, query]),
            both_bias=torch.cat([down_bias, bias]),
        )


def _by_head(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """(K, D), (D, …) → (H·K, …): the product of every head's columns with its rows."""
    if heads == 1:
        return left @ right
    pairs = zip(left.chunk(heads, dim=1), right.chunk(heads), strict=True)
    return torch.cat([columns @ rows for columns, rows in pairs])


def run(
    fusion: AdapterFusion, folded: Folded, site: SiteInput, bank: LowRankBank, offset: Tensor | None = None
) -> Fused:
    """The fused delta and the weights from folded matrices; `offset` (…,) is added to every score before dropout."""
    stack, width = folded.stack, folded.stack.up.shape[1]
    if folded.both is not None:
        both = F.linear(site.x, folded.both, folded.both_bias)
        pre, query = both[..., :width], both[..., width:]
    else:
        pre = bank.project(site.x, stack)
        query = F.linear(fusion.query_input(site), folded.query, folded.query_bias)
    hidden = bank.activate(pre)
    if fusion.spec.heads > 1:
        return _run_heads(fusion, folded, site, hidden, query)
    scores = stack.per_adapter(query[..., :width] * hidden) + query[..., width:]
    weights = fusion.weights(scores, None if offset is None else offset / fusion.spec.temperature)
    mixed = torch.cat([stack.spread(weights, hidden), weights], dim=-1)
    return Fused(fusion.with_residual(F.linear(mixed, folded.out), site), weights)


def _run_heads(
    fusion: AdapterFusion, folded: Folded, site: SiteInput, hidden: Tensor, query: Tensor
) -> Fused:
    """The same with several heads, which share hidden activations (…, ΣR): query is (…, H·(ΣR + N))."""
    stack, heads, width = folded.stack, fusion.spec.heads, hidden.shape[-1]
    query, shared = query.unflatten(-1, (heads, -1)), hidden.unsqueeze(-2)
    weights = fusion.weights(stack.per_adapter(query[..., :width] * shared) + query[..., width:])
    mixed = torch.cat([stack.spread(weights, shared), weights], dim=-1)
    outs = zip(mixed.unbind(-2), folded.out.chunk(heads), strict=True)
    delta = torch.cat([F.linear(mix, out) for mix, out in outs], dim=-1)
    return Fused(fusion.with_residual(delta, site), weights.mean(-2))
