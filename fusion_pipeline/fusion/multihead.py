"""AdapterFusion with several heads, over any bank.

Head h has the rows Wq_h, Wk_h, Wv_h (D/H, D) of the three matrices:

    s_hn = (Wkᵀ_h Wq_h q)·Δ_n,   p_h = softmax_n(dropout(s_h) / T),   c = [Wv_h Σ_n p_hn Δ_n]_h

One head after the other: scores and sums of the bank cost H times what one head costs, and neither the keys nor the
values of N adapters are built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import Bank, Hidden
from fusion_pipeline.fusion.spec import Fused
from fusion_pipeline.sites.site import SiteInput

if TYPE_CHECKING:
    from fusion_pipeline.fusion.adapterfusion import AdapterFusion


def attend(fusion: AdapterFusion, site: SiteInput, bank: Bank) -> Fused:
    """The fused delta (…, D) and the weights (…, N), their mean over the heads."""
    hidden = bank.hidden(site.x)
    query = fusion.query(fusion.query_input(site))
    size = query.shape[-1] // fusion.spec.heads
    parts, weights = [], []
    for start in range(0, query.shape[-1], size):
        head = slice(start, start + size)
        weights.append(_weights(fusion, site, bank, hidden, query[..., head], head))
        mixed = bank.combine(weights[-1], hidden)
        parts.append(mixed[..., head] if fusion.value is None else F.linear(mixed, fusion.value.weight[head]))
    delta = fusion.with_residual(torch.cat(parts, dim=-1), site)
    return Fused(delta, torch.stack(weights).mean(0))


def _weights(
    fusion: AdapterFusion, site: SiteInput, bank: Bank, hidden: Hidden, query: Tensor, head: slice
) -> Tensor:
    onto = query @ fusion.key.weight[head]
    scores = bank.scores(onto, hidden) / fusion.spec.temperature
    if not fusion.drops:
        return fusion.weights(scores)
    # What is equal for all adapters counts where dropout falls on the scores: the key's bias, and h in the keys.
    offset = query @ fusion.key.bias[head]
    if fusion.spec.residual_before:
        offset = offset + (onto * site.sublayer).sum(-1)
    return fusion.weights(scores, offset / fusion.spec.temperature)
