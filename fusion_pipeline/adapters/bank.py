"""Banks: all adapters active at one site, computed together.

A fusion needs three things of N deltas Δ_n: their inner products with a query, a weighted sum, and
now and then the deltas themselves. For low-rank deltas Δ_n = s_n (U_n z_n + c_n), z_n = φ(D_n x + b_n),
the first two never need the (tokens × N × hidden) tensor:

    q·Δ_n        = s_n (U_nᵀ q)·z_n + s_n q·c_n
    Σ_n w_n Δ_n  = [s_1 U_1 … s_N U_N] (w ∘ z) + Σ_n w_n s_n c_n
    Σ_n ω_n ∘ Δ_n = [diag(ω_1) s_1 U_1 … diag(ω_N) s_N U_N] z + Σ_n ω_n ∘ s_n c_n    (ω the same for all tokens)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.spec import Between
from fusion_pipeline.adapters.stack import Stack, stack_of

Hidden = Tensor
"""What a bank computes once from x and uses in every method: (…, ΣR) for a low-rank bank."""


class Bank(Protocol):
    """The adapters of one site. Shapes: x (…, D_in), query (…, D_out), weights (…, N)."""

    names: tuple[str, ...]

    def hidden(self, x: Tensor) -> Hidden:
        """What the other methods share."""
        ...

    def scores(self, query: Tensor, hidden: Hidden) -> Tensor:
        """⟨query, Δ_n⟩ for every adapter: (…, N)."""
        ...

    def combine(self, weights: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n w_n Δ_n: (…, D_out)."""
        ...

    def combine_scaled(self, scales: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n ω_n ∘ Δ_n with scales ω (N, D_out) or (N, 1) for all tokens: (…, D_out)."""
        ...

    def deltas(self, hidden: Hidden) -> Tensor:
        """Every delta: (…, N, D_out)."""
        ...

    def subset(self, names: Sequence[str]) -> Bank:
        """A bank of some of these adapters, in the order of the names."""
        ...


class LowRankBank:
    """A bank of low-rank adapters of any widths, activations and scales.

    Frozen adapters are stacked once and again only after a weight has changed; trainable ones are
    stacked in every forward, so that gradients reach each adapter's own parameters.
    """

    def __init__(self, names: Sequence[str], modules: Sequence[nn.Module]) -> None:
        self.names = tuple(names)
        self.modules = list(modules)
        self._cached: tuple[object, Stack] | None = None

    def between(self) -> list[Between]:
        """What lies between each adapter's projections, in order."""
        return [module.between() for module in self.modules]  # type: ignore[operator]

    @property
    def width(self) -> int:
        """ΣR."""
        return sum(one.width for one in self.between())

    def _stacked(self) -> Stack:
        return stack_of([module.low_rank() for module in self.modules])  # type: ignore[operator]

    @property
    def trains(self) -> bool:
        """Whether gradients are to reach an adapter's own parameters."""
        return torch.is_grad_enabled() and any(p.requires_grad for m in self.modules for p in weights_of(m))

    def version(self) -> object:
        """Changes whenever a frozen weight or the task does: stacks and folded matrices are kept while it stays."""
        tasks = tuple(getattr(module, "task", None) for module in self.modules)
        return tasks, weight_version(p for module in self.modules for p in weights_of(module))

    def stack(self) -> Stack:
        """The stacked weights of now."""
        if torch.compiler.is_compiling():
            # Whether what is kept is still true cannot be asked inside a graph; stacking anew is little work.
            return self._stacked()
        if self.trains:
            # Fused optimisers change weights without a trace: nothing kept outlives a training forward.
            self._cached = None
            return self._stacked()
        version = self.version()
        if self._cached is None or self._cached[0] != version:
            # Not as inference tensors: a later training forward may use what a prediction has stacked.
            with torch.inference_mode(False), torch.no_grad():
                self._cached = (version, self._stacked())
        return self._cached[1]

    def forget(self) -> None:
        """Drops what is kept: weights may have changed without a trace."""
        self._cached = None

    def activate(self, pre: Tensor) -> Tensor:
        """φ_n on each adapter's own part of the pre-activations (…, ΣR), with its dropout where it trains."""
        each = self.between()
        if len({(one.activation, one.dropout) for one in each}) == 1:
            return _activated(each[0], pre)
        split = pre.split([one.width for one in each], dim=-1)
        return torch.cat([_activated(one, piece) for one, piece in zip(each, split, strict=True)], dim=-1)

    def project(self, x: Tensor, stack: Stack) -> Tensor:
        """All pre-activations D_n drop(x) + b_n: one product, or one each where a dropout falls on x."""
        rates = [one.input_dropout for one in self.between()]
        if not any(rates):
            return F.linear(x, stack.down, stack.down_bias)
        inputs = [F.dropout(x, rate, training=rate > 0) for rate in rates]
        downs = stack.down.split(stack.widths)
        pieces = [F.linear(one, down) for one, down in zip(inputs, downs, strict=True)]
        pre = torch.cat(pieces, dim=-1)
        return pre if stack.down_bias is None else pre + stack.down_bias

    def hidden(self, x: Tensor) -> Hidden:
        """All bottleneck activations with one matrix product: (…, D_in) → (…, ΣR)."""
        stack = self.stack()
        return self.activate(self.project(x, stack))

    def scores(self, query: Tensor, hidden: Hidden) -> Tensor:
        """⟨query, Δ_n⟩: (…, D_out), (…, ΣR) → (…, N)."""
        stack = self.stack()
        scores = stack.per_adapter((query @ stack.up) * hidden)
        return scores if stack.up_bias is None else scores + F.linear(query, stack.up_bias)

    def combine(self, weights: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n w_n Δ_n: (…, N), (…, ΣR) → (…, D_out)."""
        stack = self.stack()
        mixed = F.linear(stack.spread(weights, hidden), stack.up)
        return mixed if stack.up_bias is None else mixed + weights @ stack.up_bias

    def combine_scaled(self, scales: Tensor, hidden: Hidden) -> Tensor:
        """Σ_n ω_n ∘ Δ_n: (N, D_out) or (N, 1), (…, ΣR) → (…, D_out), one product with scaled up-projections."""
        stack = self.stack()
        mixed = F.linear(hidden, stack.up * stack.per_column(scales).T)
        return mixed if stack.up_bias is None else mixed + (scales * stack.up_bias).sum(0)

    def subset(self, names: Sequence[str]) -> LowRankBank:
        """A bank of some of these adapters; it stacks anew what this one may have stacked already."""
        own = dict(zip(self.names, self.modules, strict=True))
        return LowRankBank(names, [own[name] for name in names])

    def deltas(self, hidden: Hidden) -> Tensor:
        """Every delta: (…, ΣR) → (…, N, D_out)."""
        stack = self.stack()
        ups = stack.up.split(stack.widths, dim=1)
        pieces = hidden.split(stack.widths, dim=-1)
        deltas = torch.stack([F.linear(z, up) for z, up in zip(pieces, ups, strict=True)], dim=-2)
        return deltas if stack.up_bias is None else deltas + stack.up_bias


def weights_of(module: nn.Module) -> Iterator[Tensor]:
    """An adapter's own weights and those it has in common with other sites."""
    yield from module.parameters()
    for name in getattr(module, "common", ()):
        yield from getattr(module, name).parameters()


def weight_version(parameters: Iterable[Tensor]) -> object:
    """Changes with an in-place write that autograd sees, a new storage, device or dtype.

    Writes through `.data` and by fused optimisers leave no trace; training forwards therefore drop what is kept.
    """
    return tuple(
        (id(p), p.data_ptr(), 0 if p.is_inference() else p._version, p.device, p.dtype) for p in parameters
    )


def _activated(between: Between, pre: Tensor) -> Tensor:
    return F.dropout(between.function(pre), between.dropout, training=between.dropout > 0)
