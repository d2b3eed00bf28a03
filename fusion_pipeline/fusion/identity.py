"""How far a matrix is from the identity: AdapterFusion's penalty on its value matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def distance_to_identity(weight: Tensor) -> Tensor:
    """‖I − W‖²_F with gradient 2 (W − I); nothing but W is kept for backward. W is (D, D)."""
    distance: Tensor = _Distance.apply(weight)
    return distance


class _Distance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _minus_identity(weight).square().sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _minus_identity(ctx.saved_tensors[0]) * (2 * gradient)


def _minus_identity(weight: Tensor) -> Tensor:
    off = weight.detach().clone()
    off.diagonal().sub_(1.0)
    return off
