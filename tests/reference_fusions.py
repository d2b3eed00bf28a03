"""Every fusion as a textbook writes it: each delta or output built, each weight applied, one after the other.

Slow on purpose, and in its own words. Each takes the fusion's parameters and settings, x, and a bank whose
adapters it computes one by one, and returns (fused delta, weights). No dropout, no noise.
"""

import math

import reference
import torch
from torch.nn import functional as F


def textbook(fusion, adapters, x, mask=None, made=None):
    """The mechanism's own function below; `made` are deltas (…, N, D) that are there already."""
    each = torch.stack([reference.delta(a, x) for a in adapters.values()], -2) if made is None else made
    return FORMS[fusion.spec.kind if hasattr(fusion, "spec") else _kind(fusion)](
        fusion, list(adapters), adapters, each, x, mask
    )


def _kind(fusion):
    return type(fusion).__name__.lower()


def _mix(weights, each):
    return (weights.unsqueeze(-1) * each).sum(-2), weights


def _of(per_adapter, names):
    """Rows of a per-adapter parameter for these names."""
    return torch.stack([per_adapter.values[per_adapter.names.index(name)] for name in names])


def average(fusion, names, adapters, each, x, mask):
    return each.mean(-2), torch.full(each.shape[:-1], 1 / len(names), dtype=each.dtype)


def weighted(fusion, names, adapters, each, x, mask):
    weights = torch.softmax(_of(fusion.logits, names), 0)
    return _mix(weights.expand(each.shape[:-1]), each)


def scalearn(fusion, names, adapters, each, x, mask):
    omega = _of(fusion.omega, names).expand(len(names), each.shape[-1])
    return (omega * each).sum(-2), omega.mean(-1).expand(each.shape[:-1])


def linear(fusion, names, adapters, each, x, mask):
    return _mix(torch.softmax(x @ _of(fusion.rows, names).T, -1), each)


def gating(fusion, names, adapters, each, x, mask):
    hidden = reference.PHI[fusion.spec.activation](x @ fusion.inner.weight.T + fusion.inner.bias)
    logits = hidden @ _of(fusion.rows, names).T + _of(fusion.biases, names)
    gate = torch.softmax(logits, -1) if fusion.spec.gate == "softmax" else 1 / (1 + torch.exp(-logits))
    return _mix(gate, each)


def router(fusion, names, adapters, each, x, mask):
    rows, k = _of(fusion.rows, names), min(fusion.spec.k or 2, len(names))
    weights = torch.zeros(each.shape[:-1], dtype=x.dtype)
    for b in range(x.shape[0]):
        real = [t for t in range(x.shape[1]) if mask is None or mask[b, t]]
        for t in range(x.shape[1]):
            read = x[b, t] if fusion.spec.per == "token" else x[b, real].mean(0)
            logits = rows @ read
            best = sorted(range(len(names)), key=lambda n: -float(logits[n].detach()))[:k]
            some = torch.softmax(logits[best], 0)
            if k == 1:
                # The value 1 with the gradient of Switch Transformer's gate.
                share = torch.softmax(logits, 0)[best]
                some = some + share - share.detach()
            weights[b, t] = weights[b, t].index_put((torch.tensor(best),), some)
    return _mix(weights, each)


def attention(fusion, names, adapters, each, x, mask):
    spec, dim = fusion.spec, x.shape[-1]
    size, outputs = dim // spec.heads, x.unsqueeze(-2) + each
    query = outputs @ fusion.query.weight.T + fusion.query.bias
    key, value = outputs @ fusion.key.weight.T, outputs @ fusion.value.weight.T
    parts, shares = [], []
    for h in range(spec.heads):
        own = slice(h * size, (h + 1) * size)
        scores = query[..., own] @ key[..., own].transpose(-1, -2) / (spec.temperature * math.sqrt(size))
        shares.append(torch.softmax(scores, -1))
        parts.append(shares[-1] @ value[..., own])
    attended = torch.cat(parts, -1) @ fusion.out.weight.T + fusion.out.bias
    if spec.residual:
        attended = attended + outputs
    first = names.index(next(name for name in fusion.names if name in names))
    asks = range(len(names)) if spec.pool == "mean" else [first]
    pooled = sum(attended[..., n, :] for n in asks) / len(asks)
    if fusion.norm is not None:
        pooled = F.layer_norm(pooled, (dim,), fusion.norm.weight, fusion.norm.bias)
    weights = sum(share[..., n, :] for share in shares for n in asks) / (len(asks) * spec.heads)
    return pooled - x, weights


def adapterfusion(fusion, names, adapters, each, x, mask):
    spec = fusion.spec
    size = x.shape[-1] // spec.heads
    query = x @ fusion.query.weight.T + fusion.query.bias
    keys = each @ fusion.key.weight.T + fusion.key.bias
    values = each if fusion.value is None else each @ fusion.value.weight.T
    parts, shares = [], []
    for h in range(spec.heads):
        own = slice(h * size, (h + 1) * size)
        scores = (query[..., own].unsqueeze(-2) * keys[..., own]).sum(-1)
        shares.append(torch.softmax(scores / spec.temperature, -1))
        parts.append((shares[-1].unsqueeze(-1) * values[..., own]).sum(-2))
    return torch.cat(parts, -1), sum(shares) / spec.heads


def hierarchical(fusion, names, adapters, each, x, mask):
    deltas, inner, home = {}, {}, {}
    for number, (group, members) in enumerate(fusion.groups.items()):
        here = {name: adapters[name] for name in members if name in adapters}
        if not here:
            continue
        own = each[..., [names.index(name) for name in here], :]
        deltas[group], shares = own[..., 0, :], torch.ones_like(own[..., 0])
        if len(members) > 1:
            deltas[group], shares = textbook(fusion.inner[str(number)], here, x, mask, made=own)
        for n, name in enumerate(here):
            inner[name], home[name] = shares[..., n], list(deltas).index(group)
    stand_in = dict.fromkeys(deltas)
    delta, over = textbook(fusion.outer, stand_in, x, mask, made=torch.stack(list(deltas.values()), -2))
    return delta, torch.stack([over[..., home[name]] * inner[name] for name in names], -1)


FORMS = {
    form.__name__: form
    for form in (
        average,
        weighted,
        scalearn,
        linear,
        gating,
        router,
        attention,
        adapterfusion,
        hierarchical,
    )
}
