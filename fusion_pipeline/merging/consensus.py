"""What TIES and DARE share: dropping elements, and the mean of those that agree in sign."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def largest(tensor: Tensor, density: float) -> Tensor:
    """The elements of largest magnitude, round(density·n) of them and any as large as the smallest; the others zero."""
    size = tensor.abs().flatten()
    keep = max(1, round(density * size.numel()))
    if keep >= size.numel():
        return tensor
    return tensor * (tensor.abs() >= size.kthvalue(size.numel() - keep + 1).values)


def agreed(tensors: Sequence[Tensor], weights: Sequence[float], *, mean: bool) -> Tensor:
    """γ = sign Σ wᵢτᵢ; then Σ wᵢτᵢ over the inputs whose wᵢτᵢ has that sign, for `mean` by Σ |wᵢ| of those."""
    weighted = [w * t for w, t in zip(weights, tensors, strict=True)]
    elected = torch.sign(sum(weighted))  # type: ignore[arg-type]
    total, share = torch.zeros_like(weighted[0]), torch.zeros_like(weighted[0])
    for term, weight in zip(weighted, weights, strict=True):
        same = (torch.sign(term) == elected) & (term != 0)
        total += term * same
        share += abs(weight) * same
    return total / share.clamp_min(torch.finfo(share.dtype).tiny) if mean else total
