"""Spherical interpolation of two updates, and the spherical mean of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError, require
from fusion_pipeline.merging.method import Spanning

_STEPS, _STILL, _OPPOSITE = 1000, 1e-13, 1e-9


@dataclass(frozen=True, kw_only=True)
class Slerp(Spanning):
    """Direction and length apart: the direction on the shortest arc (Shoemake 1985), the length Σ wᵢ ‖ΔWᵢ‖.

    Two inputs: direction (sin((1−t)θ) u₀ + sin(tθ) u₁) / sin θ, u = ΔW/‖ΔW‖, θ their angle; the ends are the inputs
    themselves. `t` or else the weights (1−t, t). Several: the weighted spherical (Karcher) mean of the directions,
    which for two is the same. An input whose module is zero has no direction and counts in the length only. Module
    by module; of parameters, tensor by tensor. Raises `PipelineError` for a negative weight, t outside [0, 1], t with
    several inputs, and opposite updates.
    """

    kind: str = "slerp"
    t: float | None = None

    def __post_init__(self) -> None:
        require(self.normalize, "normalize", self.normalize, "slerp's weights are shares: normalize=true")
        require(self.t is None or 0 <= self.t <= 1, "t", self.t, "0 (the first) to 1 (the second)")

    def check_weights(self, weights: Sequence[float]) -> None:
        """Refuses negative weights, and `t` where it has no meaning."""
        if any(weight < 0 for weight in weights):
            raise PipelineError(
                f"a mean on the sphere has no negative weights: {list(weights)}",
                where="weights",
                hint="linear and task_arithmetic take them",
            )
        if self.t is not None and len(weights) != 2:
            raise PipelineError(
                f"t lies between two adapters, and there are {len(weights)}",
                where="t",
                hint="weights=[...] for the spherical mean of several",
            )

    def prepared(self, weights: Sequence[float]) -> tuple[float, ...]:
        """(1−t, t), or shares of the weights."""
        return super().prepared(weights) if self.t is None else (1 - self.t, self.t)

    def coefficients(self, gram: Tensor, weights: Sequence[float]) -> Sequence[float]:
        """Factors of the ΔWᵢ."""
        norms = [math.sqrt(max(float(value), 0.0)) for value in gram.diagonal()]
        length = sum(w * n for w, n in zip(weights, norms, strict=True))
        used = [i for i, w in enumerate(weights) if w > 0 and norms[i] > 0]
        found = [0.0] * len(weights)
        if not used:
            return found
        scale = torch.tensor([norms[i] for i in used], dtype=torch.float64)
        cosines = gram[used][:, used] / torch.outer(scale, scale)
        shares = torch.tensor([weights[i] for i in used], dtype=torch.float64)
        direction = _karcher_mean(cosines, shares / shares.sum())
        for i, factor in zip(used, direction, strict=True):
            found[i] = length * float(factor) / norms[i]
        # A lone direction is not to be rounded.
        return [1.0 if weight == 1 else value for weight, value in zip(weights, found, strict=True)]


def _karcher_mean(cosines: Tensor, shares: Tensor) -> Tensor:
    """The mean direction as factors of the unit vectors (N,): the point whose logarithms of them sum to zero."""
    point = shares / _length(shares, cosines)
    for _ in range(_STEPS):
        near = (cosines @ point).clamp(-1, 1)
        angles = near.arccos()
        # θ / sin θ → 1 where a direction is the mean itself.
        pull = torch.where(angles < 1e-8, torch.ones_like(angles), angles / angles.sin().clamp_min(1e-300))
        step = shares * pull - (shares * pull * near).sum() * point
        size = _size(step, cosines)
        if size < _STILL:
            break
        point = math.cos(size) * point + math.sin(size) / size * step
        point = point / _length(point, cosines)
    return point


def _size(factors: Tensor, cosines: Tensor) -> float:
    return math.sqrt(max(float(factors @ cosines @ factors), 0.0))


def _length(factors: Tensor, cosines: Tensor) -> float:
    length = _size(factors, cosines)
    if length < _OPPOSITE:
        raise PipelineError(
            "these updates point opposite ways: no arc between them is the shortest", where="method"
        )
    return length
