"""A low-rank adapter on its own, from the parts that a bank stacks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.adapters.spec import Between, LowRank


class LowRankAdapter(nn.Module):
    """Δ(x) = s·(U drop(φ(D drop(x) + b)) + c) with the parts that `low_rank` gives.

    Shapes: x (…, D_in) → Δ (…, D_out); D is (R, D_in), U is (D_out, R).
    """

    def low_rank(self) -> LowRank:
        """Its projections, for a bank; their gradients reach the parameters."""
        raise NotImplementedError

    def between(self) -> Between:
        """Its width, activation and dropouts of now."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The delta, one adapter alone."""
        part, between = self.low_rank(), self.between()
        pre = F.linear(dropped(x, between.input_dropout), part.down, part.down_bias)
        return part.scale * F.linear(dropped(between.function(pre), between.dropout), part.up, part.up_bias)


def dropped(x: Tensor, rate: float) -> Tensor:
    """x after dropout at a rate that is 0 outside training."""
    return F.dropout(x, rate, training=rate > 0)
