"""A bank of adapters of any kind: every delta is computed on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.bank import Hidden, LowRankBank
from fusion_pipeline.adapters.explicit_bank import ExplicitBank

if TYPE_CHECKING:
    from fusion_pipeline.mixing import Batch


class ModuleBank(ExplicitBank):
    """N adapters as plain modules x → Δ_n; what the methods share are the deltas themselves, (…, N, D_out).

    A module whose `wants_mask` is true is called with the batch's mask (B, T) too.
    """

    def __init__(self, names: Sequence[str], modules: Sequence[nn.Module], batch: Batch) -> None:
        self.names = tuple(names)
        self.modules = list(modules)
        self.batch = batch

    def hidden(self, x: Tensor) -> Hidden:
        """Every delta: (…, D_in) → (…, N, D_out)."""
        return torch.stack([alone(module, x, self.batch) for module in self.modules], dim=-2)

    def subset(self, names: Sequence[str]) -> ModuleBank:
        """A bank of some of these adapters, in the order of the names."""
        own = dict(zip(self.names, self.modules, strict=True))
        return ModuleBank(names, [own[name] for name in names], self.batch)

    def forget(self) -> None:
        """Nothing is kept."""


def bank_of(names: Sequence[str], modules: Sequence[nn.Module], batch: Batch) -> LowRankBank | ModuleBank:
    """The cheapest bank that can hold these adapters: low-rank where all of them are."""
    if all(hasattr(module, "low_rank") for module in modules):
        return LowRankBank(names, modules)
    return ModuleBank(names, modules, batch)


def alone(module: nn.Module, x: Tensor, batch: Batch) -> Tensor:
    """One adapter's delta (…, D_out), with the mask where it asks for it."""
    found: Tensor = module(x, batch.mask) if getattr(module, "wants_mask", False) else module(x)
    return found
