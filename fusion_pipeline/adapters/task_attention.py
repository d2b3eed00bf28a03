"""Attention over the sequence inside the bottleneck (projected attention: Stickland and Murray, ICML 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.low_rank import dropped
from fusion_pipeline.adapters.settings import Narrow, require, require_dropout
from fusion_pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class TaskAttentionSpec(Narrow):
    """Settings of an adapter that attends over the tokens in R dimensions.

    `heads` must divide R. `causal`: a token attends to those before it only, for decoders that generate.
    `dropout` falls on the attention weights. After the projected attention layers of Stickland and Murray
    2019 (section 3.1), at a site of one's choice. The up-projection starts at zero.
    Parameters at a site: R·D_in + R + 3·(R² + R) + D_out·R + D_out.
    Raises `PipelineError` for a value out of range, and for heads that do not divide R.
    """

    kind: str = "task_attention"
    heads: int = 4
    causal: bool = False
    dropout: float = 0.0
    scaling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1, "heads", self.heads, "a whole number of at least 1")
        require_dropout(self.dropout)

    def build(self, d_in: int, d_out: int) -> TaskAttention:
        """The adapter module for one site."""
        width = self.bottleneck(d_in)
        if width % self.heads:
            raise PipelineError(
                f"{self.heads} heads do not divide the bottleneck of {width}",
                where="adapter.heads",
                hint="adapter.heads=1, or another adapter.width",
            )
        return TaskAttention(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """R·D_in + R + 3·(R² + R) + D_out·R + D_out."""
        width = self.bottleneck(d_in)
        return width * d_in + width + 3 * (width * width + width) + d_out * width + d_out


class TaskAttention(nn.Module):
    """Δ(x) = s·(U Attn(z) + c), z = D x + b, Attn_t(z) = Σ_u softmax_u(q_t·k_u / √(R/H)) v_u over real tokens u.

    Not low rank: a token's delta depends on the whole sequence.
    Shapes: x (B, T, D_in), mask (B, T) with 1 for real tokens → Δ (B, T, D_out); q, k, v are (B, H, T, R/H).
    """

    wants_mask = True

    def __init__(self, spec: TaskAttentionSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.bottleneck(d_in)
        self.down = nn.Linear(d_in, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.up = nn.Linear(width, d_out)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """The delta; tokens that the mask leaves out are attended to by nobody."""
        mixed = self._attend(self.qkv(self.down(x)), mask_BT)
        return self.spec.scaling * self.up(mixed)

    def _attend(self, qkv_BTW: Tensor, mask_BT: Tensor | None) -> Tensor:
        parts = qkv_BTW.unflatten(-1, (3, self.spec.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        weights = torch.softmax(scores.masked_fill(~self._seen(scores, mask_BT), _LEAST), dim=-1)
        weights = dropped(weights, self.spec.dropout if self.training else 0.0)
        return (weights @ value).transpose(1, 2).flatten(-2)

    def _seen(self, scores: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Which token may attend to which: broadcasts to (B, H, T, T)."""
        tokens = scores.shape[-1]
        seen = torch.ones(tokens, tokens, dtype=torch.bool, device=scores.device)
        seen = seen.tril() if self.spec.causal else seen
        return seen if mask_BT is None else seen & mask_BT.bool()[:, None, None, :]


# Not −∞: a row without any real token, as fillers are, must stay finite.
_LEAST = -1e4
