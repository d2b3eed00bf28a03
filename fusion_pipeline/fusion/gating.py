"""A small network on the layer's input weighs the adapters, for each token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.fusion.checks import require
from fusion_pipeline.fusion.forms import DynamicFusion
from fusion_pipeline.fusion.per_adapter import PerAdapter
from fusion_pipeline.fusion.spec import softmax_over_adapters


@dataclass(frozen=True, kw_only=True)
class GatingSpec:
    """Settings of the gate.

    `gate`: `softmax` (the weights of a token sum to 1) or `sigmoid` (each adapter is let through by itself).
    `hidden` is the width H of the network, `activation` what is in its middle. Mixes deltas.
    Parameters a site: H·(D + 1) + N·(H + 1).
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "gating"
    wants: ClassVar[frozenset[str]] = frozenset()
    gate: Literal["softmax", "sigmoid"] = "softmax"
    hidden: int = 16
    activation: str = "relu"
    init_std: float = 0.02

    def __post_init__(self) -> None:
        require(self.gate in ("softmax", "sigmoid"), "gate", self.gate, "softmax or sigmoid")
        require(self.hidden >= 1, "hidden", self.hidden, "1 or more")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        if self.activation not in ACTIVATIONS:
            raise PipelineError(
                f"there is no activation '{self.activation}'",
                where="fusion.activation",
                hint=did_you_mean(self.activation, ACTIVATIONS),
            )

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Gating:
        """The fusion of one site."""
        return Gating(self, d_in, adapters)


class Gating(DynamicFusion):
    """Δ = Σ_n g_n Δ_n, g = softmax or σ of W₂ φ(W₁ x + b₁) + b₂; it starts near the mean of the adapters.

    Shapes: x (…, D_in) → delta (…, D_out), weights (…, N); W₁ is (H, D_in), W₂ (N, H).
    """

    def __init__(self, spec: GatingSpec, d_in: int, adapters: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.sums_to_one = spec.gate == "softmax"
        self.inner = nn.Linear(d_in, spec.hidden)
        self.rows = PerAdapter(adapters, spec.hidden)
        self.biases = PerAdapter(adapters)
        nn.init.normal_(self.rows.values, std=spec.init_std)
        if spec.gate == "sigmoid":
            # σ(b) = 1/N; a gate alone starts nearly open.
            nn.init.constant_(self.biases.values, -math.log(max(len(adapters) - 1, 0.01)))

    def weights(self, x: Tensor, names: Sequence[str]) -> Tensor:
        """The gates of the adapters at hand."""
        hidden = ACTIVATIONS[self.spec.activation](self.inner(x))
        logits = F.linear(hidden, self.rows.of(names), self.biases.of(names))
        return softmax_over_adapters(logits) if self.sums_to_one else torch.sigmoid(logits)
