"""What every fusion mechanism offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.bank import Bank
from fusion_pipeline.sites.site import SiteInput


class Fused(NamedTuple):
    """A fusion's answer: the delta (…, D_out) to add and the weights (…, N) it used."""

    delta: Tensor
    weights: Tensor


class Fusion(nn.Module):
    """One site's fusion: `(site input, bank) → Fused`.

    The bank holds all adapters the fusion was built over or, for a prediction, some of them, by name.
    `no_decay` names parameters that weight decay must leave alone, because zero means nothing for them.
    `learning_rates` are the multiples of the learning rate at which submodules learn, by name, where it is not 1.
    `common` names submodules that all sites have in common: the model owns and saves them once.
    `sums_to_one` says whether the weights of a token do; then one adapter alone counts fully.
    `groups` names the adapters that are fused with each other first, where some are.
    """

    no_decay: tuple[str, ...] = ()
    learning_rates: Mapping[str, float] = MappingProxyType({})
    common: tuple[str, ...] = ()
    sums_to_one: bool = True
    groups: Mapping[str, Sequence[str]] = {}

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused delta and the weights."""
        raise NotImplementedError

    def penalty(self) -> Tensor | None:
        """A term added to the training loss, or None."""
        return None

    def begin(self) -> None:
        """A new forward of the model starts: what the penalty needed of the last one is dropped."""

    def forget(self) -> None:
        """Drops what is kept from one evaluation to the next; nothing, unless a mechanism keeps something."""


class FusionSpec(Protocol):
    """A checked description of a fusion; `build` makes the module for one site."""

    @property
    def kind(self) -> str:
        """The config's name, `configs/fusion/<kind>.yaml`."""
        ...

    @property
    def wants(self) -> frozenset[str]:
        """Extra tensors the fusion asks of its sites: "sublayer"."""
        ...

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Fusion:
        """The module for one site over these adapters; refuses adapters it cannot fuse."""
        ...


def softmax_over_adapters(scores: Tensor) -> Tensor:
    """softmax over the last axis, in float32 at least: a bf16 softmax loses the small weights."""
    wide = scores.float() if scores.dtype.itemsize < 4 else scores
    return torch.softmax(wide, dim=-1).to(scores.dtype)
