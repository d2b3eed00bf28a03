"""The load-balance loss of routes and gates (Switch Transformer, Fedus et al., JMLR 2022, equations 4 to 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def load_balance(shares: Tensor, chosen: Tensor, mask: Tensor | None) -> Tensor:
    """N · Σ_n f_n P_n: f the part of all choices that fell on n, P its mean softmax share.

    1 where both are uniform, up to N where all choices fall on one. Gradients go through P alone. Where nothing is
    chosen and all are weighed, `chosen` are the shares themselves: N · Σ_n P_n² = 1 + CV(P)², the importance loss of
    Shazeer et al. (ICLR 2017, equation 7) plus 1, with gradients through both factors.
    Counted over the batch at hand: with gradient accumulation or several ranks, over each part by itself.
    Shapes: shares and chosen (…, N), mask (…) or broadcastable to it, None where all count.
    """
    counts = torch.ones_like(shares[..., :1]) if mask is None else mask.to(shares.dtype).unsqueeze(-1)
    counts = counts.expand(*shares.shape[:-1], 1)
    total = counts.sum().clamp_min(1)
    picked = (chosen.to(shares.dtype) * counts).flatten(0, -2).sum(0)
    part = picked / picked.sum().clamp_min(1)
    mean = (shares * counts).flatten(0, -2).sum(0) / total
    return shares.shape[-1] * (part * mean).sum()
