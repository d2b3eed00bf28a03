"""A low-rank adapter on its own, from the parts that a bank stacks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.spec import LowRank


class LowRankAdapter(nn.Module):
    """Δ(x) = s·(U drop(φ(D drop(x) + b)) + c) with the parts that `low_rank` gives.

    Shapes: x (…, D_in) → Δ (…, D_out); D is (R, D_in), U is (D_out, R).
    """

    def low_rank(self) -> LowRank:
        """Its parts, for a bank; their gradients reach the parameters."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The delta, one adapter alone."""
        part = self.low_rank()
        pre = F.linear(dropped(x, part.input_dropout), part.down, part.down_bias)
        return part.scale * F.linear(dropped(part.function(pre), part.dropout), part.up, part.up_bias)


def dropped(x: Tensor, rate: float) -> Tensor:
    """x after dropout at a rate that is 0 outside training."""
    return F.dropout(x, rate, training=rate > 0)
