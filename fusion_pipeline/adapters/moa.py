"""A mixture of adapters, trained together with its gate (Wang et al., EMNLP 2022; Shazeer et al., ICLR 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import dropped
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout
from fusion_pipeline.balance import load_balance


@dataclass(frozen=True, kw_only=True)
class MoaSpec(Narrow):
    """Settings of a mixture of bottleneck experts with a softmax gate.

    `experts` is E; `top_k` keeps a token's k best experts and shares their weight anew (None: all of them, soft).
    Experts as in AdaMix (Wang et al. 2022, section 3.1), the gate as in Shazeer et al. 2017 (section 2.1), without
    its noise. `balance` is the weight of the load-balance loss, summed over sites: with `top_k` that of Switch
    Transformer (Fedus et al. 2022), whose weight of 0.01 is the default; without it the importance loss of Shazeer et
    al. (section 4). It is of each micro-batch and rank by itself. The up-projections start at zero.
    Parameters at a site: E·(R·D_in + R + D_out·R + D_out) + E·D_in + E.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "moa"
    experts: int = 4
    top_k: int | None = None
    activation: str = "relu"
    dropout: float = 0.0
    scaling: float = 1.0
    balance: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.experts >= 1, "experts", self.experts, "a whole number of at least 1")
        fits = self.top_k is None or 1 <= self.top_k <= self.experts
        require(fits, "top_k", self.top_k, f"from 1 to adapter.experts={self.experts}, or null")
        require(self.balance >= 0, "balance", self.balance, "0 (off) or more")
        require_dropout(self.dropout)
        require_activation(self.activation)

    def build(self, d_in: int, d_out: int) -> Moa:
        """The mixture of one site."""
        return Moa(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """E·(R·D_in + R + D_out·R + D_out) + E·D_in + E."""
        width = self.bottleneck(d_in)
        expert = width * d_in + width + d_out * width + d_out
        return self.experts * (expert + d_in + 1)


class Moa(nn.Module):
    """Δ(x) = Σ_e g_e(x) Δ_e(x), g = softmax(G x + a), Δ_e(x) = s·(U_e drop(φ(D_e x + b_e)) + c_e).

    With `top_k` the softmax runs over a token's k largest gate values and the other weights are 0; the one weight of
    k = 1 is 1, with the gradient of the full softmax, since else the task would teach the gate nothing. Not low
    rank, since the weights depend on x, but all experts are two matrix products.
    Shapes: x (…, D_in) → Δ (…, D_out); D is (E·R, D_in), U (D_out, E·R), c (E, D_out), G (E, D_in).
    """

    wants_mask = True

    def __init__(self, spec: MoaSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.experts * spec.bottleneck(d_in)
        self.gate = nn.Linear(d_in, spec.experts)
        self.down = nn.Linear(d_in, width)
        self.up = nn.Linear(width, d_out, bias=False)
        self.up_bias = nn.Parameter(torch.zeros(spec.experts, d_out))
        nn.init.zeros_(self.up.weight)
        self._balance: list[Tensor] = []

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The gate's weights of every token: (…, E), which sum to 1; keeps a training forward's load-balance loss."""
        scores = self.gate(x)
        weights = shares = chosen = torch.softmax(scores, dim=-1)
        if self.spec.top_k is not None:
            chosen = scores >= scores.topk(self.spec.top_k, dim=-1).values[..., -1:]
            weights = torch.softmax(scores.masked_fill(~chosen, float("-inf")), dim=-1)
        if self.spec.top_k == 1:
            weights = weights + (shares - shares.detach()) * chosen
        if self.training and self.spec.balance > 0:
            self._balance.append(load_balance(shares, chosen, mask))
        return weights

    def begin(self) -> None:
        """Drops the last forward's load-balance loss."""
        self._balance = []

    def penalty(self) -> Tensor | None:
        """balance · load-balance loss, summed over the passes of a shared layer."""
        return self.spec.balance * torch.stack(self._balance).sum() if self._balance else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The mixed delta; `mask` (B, T) or (B, 1) is 1 for the tokens that the load balance counts."""
        weights = self.weights(x, mask)
        hidden = ACTIVATIONS[self.spec.activation](self.down(x))
        hidden = dropped(hidden, self.spec.dropout if self.training else 0.0)
        weighted = hidden.unflatten(-1, (self.spec.experts, -1)) * weights.unsqueeze(-1)
        return self.spec.scaling * (F.linear(weighted.flatten(-2), self.up.weight) + weights @ self.up_bias)
