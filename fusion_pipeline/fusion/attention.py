"""Multi-head self-attention among the adapters' outputs of one token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import Bank, Hidden
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.checks import check_heads, require
from fusion_pipeline.fusion.spec import Fused, Fusion, softmax_over_adapters
from fusion_pipeline.sites.site import SiteInput


@dataclass(frozen=True, kw_only=True)
class AttentionSpec:
    """Settings of self-attention among adapter outputs (Vaswani et al. 2017, section 3.2, over adapters).

    `pool`: the mean of what the N outputs attend to, or `first`: only the first adapter's output asks.
    `output_rate` is the share of the learning rate at which Wv and Wo learn: they act on all of x, where the matrices
    of other fusions act on the small Δ_n alone, and at an adapter's rate they spoil x before they learn to mix.
    `dropout` falls on the attention. `residual` adds what asked (then the output matrix starts at zero), `norm` puts
    a layer norm on the result. Mixes outputs x + Δ_n; the weights of a token sum to 1.
    Parameters a site: 4·D² + 2·D, and 2·D for the norm, whatever N.
    Raises `PipelineError` for a value out of range, and for heads that do not divide D when it is built.
    """

    kind: str = "attention"
    wants: ClassVar[frozenset[str]] = frozenset()
    heads: int = 4
    temperature: float = 1.0
    dropout: float = 0.0
    pool: Literal["mean", "first"] = "mean"
    residual: bool = False
    norm: bool = False
    output_rate: float = 0.1
    init_std: float = 0.02

    def __post_init__(self) -> None:
        require(self.heads >= 1, "heads", self.heads, "1 or more")
        require(self.temperature > 0, "temperature", self.temperature, "a number above 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 up to, but not, 1")
        require(self.pool in ("mean", "first"), "pool", self.pool, "mean or first")
        require(0 < self.output_rate <= 1, "output_rate", self.output_rate, "above 0, up to 1")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Attention:
        """The fusion of one site; it needs outputs x + Δ, and so D_in = D_out."""
        if d_in != d_out:
            raise PipelineError(
                f"attention mixes outputs x + Δ, and here x has {d_in} dimensions and Δ {d_out}",
                where="fusion",
            )
        return Attention(self, d_out, adapters)


class Attention(Fusion):
    """With o_n = x + Δ_n and for head h A_h = softmax_m(Wq_h o_n · Wk_h o_m / (T √(D/H))):

        Δ = Wo [Wv_h Σ_m a_hm o_m]_h + bo − x,    a_h = the mean of A_h over n, or its row of the first adapter.

    Pooling, Wv and Wo are linear, so the weights are pooled before any value is built, and the values are
    x + Σ_m a_hm Δ_m from the bank. `pool: mean` builds the N outputs for its scores; `first` does not.
    The key has no bias: it would add the same to all scores. Starts near the mean of the outputs.
    Shapes: x (…, D) → delta (…, D), weights (…, N), the a_h's mean over heads.
    """

    # They start at the identity, and decay would pull them to zero.
    no_decay = ("value.weight", "out.weight")

    def __init__(self, spec: AttentionSpec, dim: int, adapters: Sequence[str]) -> None:
        super().__init__()
        check_heads(spec.heads, dim)
        self.spec, self.names = spec, tuple(adapters)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim) if spec.norm else None
        self.learning_rates = {"value": spec.output_rate, "out": spec.output_rate}
        self._initialise()

    def _initialise(self) -> None:
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=self.spec.init_std)
        nn.init.zeros_(self.query.bias)
        nn.init.eye_(self.value.weight)
        nn.init.zeros_(self.out.bias)
        if self.spec.residual:
            nn.init.zeros_(self.out.weight)
        else:
            nn.init.eye_(self.out.weight)

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused output less x, and the weights."""
        hidden = bank.hidden(site.x)
        scores = self._among_all(site, bank, hidden) if self.spec.pool == "mean" else None
        asks = self._asks(site, bank, hidden)
        scores = self._of_first(asks, bank, hidden) if scores is None else scores
        attention = softmax_over_adapters(scores / (self.spec.temperature * self._size**0.5))
        pooled = F.dropout(attention, self.spec.dropout, self.training).mean(-2)
        output = self.out(torch.cat(self._values(pooled, site, bank, hidden), dim=-1))
        output = output + asks if self.spec.residual else output
        output = output if self.norm is None else self.norm(output)
        return Fused(output - site.x, attention.mean((-3, -2)))

    @property
    def _size(self) -> int:
        return self.key.weight.shape[0] // self.spec.heads

    def _asks(self, site: SiteInput, bank: Bank, hidden: Hidden) -> Tensor:
        """The output that asks, or the mean of all: (…, D)."""
        count = len(bank.names)
        weights = site.x.new_full((count,), 1 / count)
        if self.spec.pool == "first":
            first = next(name for name in self.names if name in bank.names)
            weights = site.x.new_tensor([float(name == first) for name in bank.names])
        return site.x + bank.combine_scaled(weights.unsqueeze(-1), hidden)

    def _among_all(self, site: SiteInput, bank: Bank, hidden: Hidden) -> Tensor:
        """Every output's scores with every other: (…, H, N, N)."""
        outputs = site.x.unsqueeze(-2) + bank.deltas(hidden)
        queries = self.query(outputs).unflatten(-1, (self.spec.heads, -1)).transpose(-3, -2)
        keys = self.key(outputs).unflatten(-1, (self.spec.heads, -1)).transpose(-3, -2)
        return queries @ keys.transpose(-2, -1)

    def _of_first(self, asks: Tensor, bank: Bank, hidden: Hidden) -> Tensor:
        """The first output's scores with all, less what is equal for all: (…, H, 1, N)."""
        queries = self.query(asks).split(self._size, dim=-1)
        keys = self.key.weight.split(self._size)
        scores = [bank.scores(q @ key, hidden) for q, key in zip(queries, keys, strict=True)]
        return torch.stack(scores, dim=-2).unsqueeze(-2)

    def _values(self, pooled: Tensor, site: SiteInput, bank: Bank, hidden: Hidden) -> list[Tensor]:
        """Wv_h Σ_m a_hm o_m of every head: H times (…, D/H)."""
        values = self.value.weight.split(self._size)
        # After dropout the weights of a head need not sum to 1.
        mixed = [a.sum(-1, keepdim=True) * site.x + bank.combine(a, hidden) for a in pooled.unbind(-2)]
        return [F.linear(mix, value) for mix, value in zip(mixed, values, strict=True)]
