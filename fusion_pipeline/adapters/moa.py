"""A mixture of adapters, trained together with its gate (Wang et al., EMNLP 2022; Shazeer et al., ICLR 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import dropped
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout


@dataclass(frozen=True, kw_only=True)
class MoaSpec(Narrow):
    """Settings of a mixture of bottleneck experts with a softmax gate.

    `experts` is E; `top_k` keeps a token's k best experts and shares their weight anew (None: all of them, soft).
    Experts as in AdaMix (Wang et al. 2022, section 3.1), the gate as in Shazeer et al. 2017 (section 2.1),
    without its noise and balancing loss. The up-projections start at zero.
    Parameters at a site: E·(R·D_in + R + D_out·R + D_out) + E·D_in + E.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "moa"
    experts: int = 4
    top_k: int | None = None
    activation: str = "relu"
    dropout: float = 0.0
    scaling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.experts >= 1, "experts", self.experts, "a whole number of at least 1")
        fits = self.top_k is None or 1 <= self.top_k <= self.experts
        require(fits, "top_k", self.top_k, f"from 1 to adapter.experts={self.experts}, or null")
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

    With `top_k` the softmax runs over a token's k largest gate values and the other weights are 0. Not low
    rank, since the weights depend on x, but all experts are two matrix products.
    Shapes: x (…, D_in) → Δ (…, D_out); D is (E·R, D_in), U (D_out, E·R), c (E, D_out), G (E, D_in).
    """

    def __init__(self, spec: MoaSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.experts * spec.bottleneck(d_in)
        self.gate = nn.Linear(d_in, spec.experts)
        self.down = nn.Linear(d_in, width)
        self.up = nn.Linear(width, d_out, bias=False)
        self.up_bias = nn.Parameter(torch.zeros(spec.experts, d_out))
        nn.init.zeros_(self.up.weight)

    def weights(self, x: Tensor) -> Tensor:
        """The gate's weights of every token: (…, E), which sum to 1."""
        scores = self.gate(x)
        if self.spec.top_k is not None:
            least = scores.topk(self.spec.top_k, dim=-1).values[..., -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        return torch.softmax(scores, dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """The mixed delta."""
        weights = self.weights(x)
        hidden = ACTIVATIONS[self.spec.activation](self.down(x))
        hidden = dropped(hidden, self.spec.dropout if self.training else 0.0)
        weighted = hidden.unflatten(-1, (self.spec.experts, -1)) * weights.unsqueeze(-1)
        return self.spec.scaling * (F.linear(weighted.flatten(-2), self.up.weight) + weights @ self.up_bias)
