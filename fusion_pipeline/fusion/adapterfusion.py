"""AdapterFusion (Pfeiffer et al., EACL 2021, section 3.2) in a cheap and exact form.

The textbook form, for a token with query input q and adapter outputs Δ_n:

    Q = Wq q + bq,  K_n = Wk Δ_n + bk,  p = softmax_n(dropout(Q·K_n) / T),  c = Σ_n p_n Wv Δ_n

costs 2·N·D² a token. Moving the key to the query's side and the value behind the sum,

    Q·K_n = (Wkᵀ Q)·Δ_n + Q·bk,    c = Wv Σ_n p_n Δ_n,

is the same function at a cost that hardly grows with N; Q·bk is equal for all n and drops out of the
softmax unless dropout falls on the raw scores. `folded` goes one step further; `multihead` is for several heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.bank import Bank, LowRankBank
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.checks import check_heads, require
from fusion_pipeline.fusion.folded import FoldedFusion, fold, pays, run
from fusion_pipeline.fusion.identity import distance_to_identity
from fusion_pipeline.fusion.multihead import attend
from fusion_pipeline.fusion.spec import Fused, Fusion, softmax_over_adapters
from fusion_pipeline.sites.site import SiteInput


@dataclass(frozen=True, kw_only=True)
class AdapterFusionSpec:
    """Settings of AdapterFusion.

    `value`: with a value matrix (dynamic, the paper's) or without (static).
    `regularization` is the weight of the penalty ‖I − Wv‖²_F a site, inside the training loss.
    `query_before_norm` takes the sub-layer output h as the query, in place of the adapter input.
    `residual_before`: the values are Δ_n + h, so that Wv acts on h too. `doubled_residual` adds the adapter
    input once more, as the `adapters` library does over parallel adapters: for fusions trained there.
    `dropout` falls on the raw scores. `heads` H splits queries, keys and values into H parts of D/H dimensions, each
    with weights of its own. Mixes deltas; the weights of a token sum to 1.
    Parameters a site: 2·(D² + D), and D² for the value, whatever N and H.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "adapterfusion"
    value: bool = True
    regularization: float = 0.01
    dropout: float = 0.0
    temperature: float = 1.0
    query_before_norm: bool = False
    residual_before: bool = False
    doubled_residual: bool = False
    init_std: float = 0.02
    value_off_diagonal: float = 1e-6
    heads: int = 1

    def __post_init__(self) -> None:
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 up to, but not, 1")
        require(self.temperature > 0, "temperature", self.temperature, "a number above 0")
        require(self.regularization >= 0, "regularization", self.regularization, "0 (off) or more")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        require(self.heads >= 1, "heads", self.heads, "1 or more")

    @property
    def wants(self) -> frozenset[str]:
        """h, where it is the query or part of the values."""
        return frozenset({"sublayer"} if self.query_before_norm or self.residual_before else ())

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> AdapterFusion:
        """The fusion of one site; its parameters live in D_out and do not depend on the adapters.

        Raises `PipelineError` where D_in is not D_out and a setting adds what has another width to the delta.
        """
        for key in ("query_before_norm", "residual_before", "doubled_residual"):
            if getattr(self, key) and d_in != d_out:
                raise PipelineError(
                    f"fusion.{key} needs sites as wide as what they read, and one reads {d_in} and writes {d_out}",
                    where=f"fusion.{key}",
                    hint=f"fusion.{key}=false, or adapter kinds after a sub-layer, such as pfeiffer",
                )
        return AdapterFusion(self, d_in, d_out)


class AdapterFusion(Fusion):
    """p = softmax_n(dropout(Q·K_n) / T), Δ = Wv Σ_n p_n Δ_n.

    With several heads each has its rows of Wq, Wk and Wv, and the weights are the mean over heads.
    With `residual_before` Δ = Wv (Σ_n p_n Δ_n + h) − h: the weights sum to 1, and h itself is added after.
    Shapes: x (…, D_in) → delta (…, D_out), weights (…, N).
    """

    # The penalty pulls Wv to the identity; decay would pull it to zero at the same time.
    no_decay = ("value.weight",)

    def __init__(self, spec: AdapterFusionSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        check_heads(spec.heads, d_out)
        self.spec = spec
        self.query = nn.Linear(d_in, d_out)
        self.key = nn.Linear(d_out, d_out)
        self.value = nn.Linear(d_out, d_out, bias=False) if spec.value else None
        self._folded = FoldedFusion(self)
        self._initialise()

    def _initialise(self) -> None:
        for linear in (self.query, self.key):
            nn.init.normal_(linear.weight, std=self.spec.init_std)
            nn.init.zeros_(linear.bias)
        if self.value is not None:
            nn.init.constant_(self.value.weight, self.spec.value_off_diagonal)
            with torch.no_grad():
                self.value.weight.fill_diagonal_(1.0)

    def requires_grad_(self, requires_grad: bool = True) -> AdapterFusion:
        """Trains or freezes it; the key's bias trains only where it has an effect (score dropout)."""
        super().requires_grad_(requires_grad)
        # Without score dropout its gradient is exactly zero: an unused parameter that data parallelism trips over.
        self.key.bias.requires_grad_(requires_grad and self.spec.dropout > 0)
        return self

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """Folded where that is less work, else the cheap form; evaluation keeps what it has folded.

        A compiled forward keeps nothing: it cannot ask whether folded weights are still true.
        """
        if not torch.compiler.is_compiling():
            if not self.training and not torch.is_grad_enabled() and isinstance(bank, LowRankBank):
                return self._folded(site, bank)
            self.forget()
        if self.spec.heads > 1:
            return attend(self, site, bank)
        if isinstance(bank, LowRankBank) and self._folding_pays(site, bank):
            return run(self, fold(self, bank.stack()), site, bank, self._key_offset(site))
        hidden = bank.hidden(site.x)
        query = self._query(site)
        scores = bank.scores(query, hidden) / self.spec.temperature
        offset = self._key_offset(site)
        if offset is not None:
            # Under `residual_before` the keys hold h too.
            offset = offset + (query * site.sublayer).sum(-1) if self.spec.residual_before else offset
            offset = offset / self.spec.temperature
        weights = self.weights(scores, offset)
        mixed = bank.combine(weights, hidden)
        delta = mixed if self.value is None else self.value(mixed)
        return Fused(self.with_residual(delta, site), weights)

    def forget(self) -> None:
        """Drops the folded matrices."""
        self._folded.forget()

    def query_input(self, site: SiteInput) -> Tensor:
        """The tensor the query is made of."""
        return site.sublayer if self.spec.query_before_norm else site.x

    def with_residual(self, delta: Tensor, site: SiteInput) -> Tensor:
        """Adds Wv h − h (`residual_before`) and x (`doubled_residual`) where the settings ask for them."""
        if self.spec.residual_before and self.value is not None:
            delta = delta + (self.value(site.sublayer) - site.sublayer)
        return delta + site.x if self.spec.doubled_residual else delta

    def weights(self, scores: Tensor, offset: Tensor | None = None) -> Tensor:
        """softmax over adapters of scores (…, N); `offset` (…,) counts only where dropout falls on the scores."""
        if offset is not None:
            scores = F.dropout(scores + offset.unsqueeze(-1), self.spec.dropout, self.training)
        return softmax_over_adapters(scores)

    def _folding_pays(self, site: SiteInput, bank: LowRankBank) -> bool:
        if self.spec.residual_before and self.drops:
            return False  # needs the query itself
        tokens = site.x.shape[:-1].numel()
        return pays(tokens, self.key.weight.shape[0], bank.width)

    @property
    def drops(self) -> bool:
        """Whether dropout falls on the scores: then a constant added to all of them matters."""
        return self.training and self.spec.dropout > 0

    def _query(self, site: SiteInput) -> Tensor:
        """Wkᵀ(Wq q + bq)."""
        q = self.query_input(site)
        if q.shape[:-1].numel() > self.key.weight.shape[0]:
            # More tokens than dimensions: one D×D×D product saves a tokens×D×D one.
            return F.linear(q, self.key.weight.T @ self.query.weight, self.query.bias @ self.key.weight)
        return self.query(q) @ self.key.weight

    def _key_offset(self, site: SiteInput) -> Tensor | None:
        """(Wq q + bq)·bk where dropout falls on the scores, with bk taken to the query's side."""
        if not self.drops:
            return None
        onto = self.key.bias @ self.query.weight
        return self.query_input(site) @ onto + self.query.bias @ self.key.bias

    def penalty(self) -> Tensor | None:
        """regularization · ‖I − Wv‖²_F."""
        if self.value is None or self.spec.regularization == 0:
            return None
        return self.spec.regularization * distance_to_identity(self.value.weight)
