"""Top-k routing: each token or sequence listens to k adapters, and adapters that nobody chose are not computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import Bank, LowRankBank
from fusion_pipeline.balance import load_balance
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.checks import require
from fusion_pipeline.fusion.per_adapter import PerAdapter
from fusion_pipeline.fusion.spec import Fused, Fusion, softmax_over_adapters
from fusion_pipeline.sites.site import SiteInput


@dataclass(frozen=True, kw_only=True)
class RouterSpec:
    """Settings of the router.

    `k`: how many adapters a token listens to; null is 2, or 1 where there is one. `per`: whether each token is
    routed, or each sequence by the mean of its real tokens. `balance` is the weight of the load-balance loss (α in
    Switch Transformer, Fedus et al., JMLR 2022, section 2.2), of each micro-batch and rank by itself. `noise` ε
    multiplies what the router reads in training by U(1 − ε, 1 + ε) (its appendix on exploration). W starts at
    N(0, init_std).
    Mixes deltas; the weights of a token sum to 1. Parameters a site: N·D.
    Raises `PipelineError` for a value out of range, and for k > N when it is built.
    """

    kind: str = "router"
    wants: ClassVar[frozenset[str]] = frozenset()
    k: int | None = None
    per: Literal["token", "sequence"] = "token"
    balance: float = 0.01
    noise: float = 0.0
    init_std: float = 0.02

    def __post_init__(self) -> None:
        require(self.k is None or self.k >= 1, "k", self.k, "1 or more, or null")
        require(self.per in ("token", "sequence"), "per", self.per, "token or sequence")
        require(self.balance >= 0, "balance", self.balance, "0 (off) or more")
        require(0 <= self.noise < 1, "noise", self.noise, "a number from 0 (off) up to, but not, 1")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Router:
        """The fusion of one site."""
        if self.k is not None and self.k > len(adapters):
            raise PipelineError(
                f"the router cannot choose {self.k} of {len(adapters)} adapters",
                where="fusion.k",
                hint=f"1 to {len(adapters)}",
            )
        return Router(self, d_in, adapters)


class Router(Fusion):
    """Δ = Σ_{n ∈ K} w_n Δ_n, K the k largest of r = W x, w = softmax(r_K).

    With k = 1 the one weight is 1, and its gradient that of the full softmax, which Switch Transformer multiplies
    with: without it the task would teach the router nothing. Over fewer than k adapters, all are chosen.
    Shapes: x (B, T, D_in) → delta (B, T, D_out), weights (B, T, N); W is (N, D_in).
    """

    def __init__(self, spec: RouterSpec, d_in: int, adapters: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.rows = PerAdapter(adapters, d_in)
        nn.init.normal_(self.rows.values, std=spec.init_std)
        self._balance: list[Tensor] = []

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused delta and the weights; keeps the load-balance loss of a training forward for `penalty`."""
        logits = F.linear(self._read(site), self.rows.of(bank.names))
        shares = softmax_over_adapters(logits)
        weights, chosen = self._choose(logits, shares)
        if self.training and self.spec.balance > 0:
            self._balance.append(load_balance(shares, chosen, self._counted(site)))
        weights = weights.expand(*site.x.shape[:-1], -1)
        return Fused(_combine(weights, site, bank), weights)

    def begin(self) -> None:
        """Drops the last forward's load-balance loss."""
        self._balance = []

    def forget(self) -> None:
        """The same."""
        self._balance = []

    def penalty(self) -> Tensor | None:
        """balance · load-balance loss, summed over the passes of a shared layer."""
        return self.spec.balance * torch.stack(self._balance).sum() if self._balance else None

    def _read(self, site: SiteInput) -> Tensor:
        """What is routed by: x (B, T, D), or its mean over each sequence's real tokens (B, 1, D)."""
        x = site.x if self.spec.per == "token" else _mean_of_real(site.x, site.mask)
        if not self.training or self.spec.noise == 0:
            return x
        return x * torch.empty_like(x).uniform_(1 - self.spec.noise, 1 + self.spec.noise)

    def _choose(self, logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """(weights, whether chosen), both (…, N)."""
        k = min(self.spec.k or 2, logits.shape[-1])
        best = logits.topk(k, dim=-1).indices
        chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)
        weights = softmax_over_adapters(logits.masked_fill(~chosen, float("-inf")))
        if k == 1:
            weights = weights + (shares - shares.detach()) * chosen
        return weights, chosen

    def _counted(self, site: SiteInput) -> Tensor | None:
        """The mask of what is routed: tokens, or sequences with any token that counts."""
        if site.mask is None or self.spec.per == "token":
            return site.mask
        return site.mask.bool().any(-1, keepdim=True)


def _mean_of_real(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x.mean(-2, keepdim=True)
    real = mask.to(x.dtype).expand(x.shape[:-1]).unsqueeze(-1)
    return (x * real).sum(-2, keepdim=True) / real.sum(-2, keepdim=True).clamp_min(1)


def _combine(weights: Tensor, site: SiteInput, bank: Bank) -> Tensor:
    """Σ_n w_n Δ_n over the adapters that a token which counts has chosen."""
    # A graph cannot ask who was chosen; adapters that train must be in every step's graph on every rank.
    if torch.compiler.is_compiling() or (isinstance(bank, LowRankBank) and bank.trains):
        return bank.combine(weights, bank.hidden(site.x))
    asked = weights != 0
    asked = asked if site.mask is None else asked & site.mask.bool().unsqueeze(-1)
    used = [n for n, wanted in enumerate(asked.flatten(0, -2).any(0).tolist()) if wanted]
    if 0 < len(used) < len(bank.names):
        bank, weights = bank.subset([bank.names[n] for n in used]), weights[..., used]
    return bank.combine(weights, bank.hidden(site.x))
