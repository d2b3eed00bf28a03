"""AdapterFusion as a textbook writes it (Pfeiffer et al. 2021): every delta, every key and value, one by one.

Slow on purpose, and in its own words: the product's cheap and folded forms are compared with it.
"""

import torch
from torch.nn import functional as F

PHI = {"relu": torch.relu, "tanh": torch.tanh, "gelu": F.gelu, "swish": lambda x: x * torch.sigmoid(x)}


def delta(adapter, x):
    """s·(U φ(D x + b) + c) of one bottleneck adapter."""
    spec = adapter.spec
    hidden = PHI[spec.activation](x @ adapter.down.weight.T + adapter.down.bias)
    return spec.scaling * (hidden @ adapter.up.weight.T + adapter.up.bias)


def deltas(adapters, x):
    """Every delta: (…, N, D)."""
    return torch.stack([delta(adapter, x) for adapter in adapters], dim=-2)


def textbook(fusion, adapters, x, h, *, dropout=0.0):
    """(fused delta, weights) with key and value applied to every delta; `dropout` falls on the raw scores.

    x is the adapter input, h the sub-layer's output; what is added to the stream besides the delta is taken off.
    """
    spec = fusion.spec
    each = deltas(adapters, x)
    if spec.residual_before:
        each = each + h.unsqueeze(-2)
    query = (h if spec.query_before_norm else x) @ fusion.query.weight.T + fusion.query.bias
    keys = each @ fusion.key.weight.T + fusion.key.bias
    scores = F.dropout((query.unsqueeze(-2) * keys).sum(-1), dropout, training=True)
    weights = torch.softmax(scores / spec.temperature, dim=-1)
    values = each if fusion.value is None else each @ fusion.value.weight.T
    fused = (weights.unsqueeze(-1) * values).sum(-2)
    fused = fused - h if spec.residual_before else fused
    return fused + x if spec.doubled_residual else fused, weights
