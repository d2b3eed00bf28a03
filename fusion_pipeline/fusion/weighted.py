"""One weight for each adapter, the same for every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fusion_pipeline.fusion.checks import require
from fusion_pipeline.fusion.forms import StaticFusion
from fusion_pipeline.fusion.per_adapter import PerAdapter


@dataclass(frozen=True, kw_only=True)
class WeightedSpec:
    """Settings of the weighted sum.

    `learnable`: whether the weights train; fixed ones stay as they are drawn, a control for learned ones.
    `init`: `uniform` starts at equal weights, `normal` draws the logits from N(0, init_std).
    `shared`: one set of weights for all layers and sites. `weight_rate`: how many times the learning rate the logits
    learn at: a few hundred steps at an adapter's rate leave numbers of the order of 1 where they start. Mixes deltas;
    the weights sum to 1.
    Parameters: N a site, or N in all where they are shared.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "weighted"
    wants: ClassVar[frozenset[str]] = frozenset()
    learnable: bool = True
    init: Literal["uniform", "normal"] = "uniform"
    init_std: float = 1.0
    shared: bool = False
    weight_rate: float = 10.0

    def __post_init__(self) -> None:
        require(self.init in ("uniform", "normal"), "init", self.init, "uniform or normal")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        require(self.weight_rate > 0, "weight_rate", self.weight_rate, "above 0")

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Weighted:
        """The fusion of one site."""
        return Weighted(self, adapters)


class Weighted(StaticFusion):
    """Δ = Σ_n softmax(a)_n Δ_n, over some of the adapters with the weights of these renormalised.

    Shapes: x (…, D_in) → delta (…, D_out), weights (…, N).
    """

    def __init__(self, spec: WeightedSpec, adapters: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.learning_rates = {"logits": spec.weight_rate}
        self.common = ("logits",) if spec.shared else ()
        self.logits = PerAdapter(adapters)
        if spec.init == "normal":
            nn.init.normal_(self.logits.values, std=spec.init_std)
        self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> Weighted:
        """Trains or freezes it; fixed weights never train."""
        super().requires_grad_(requires_grad)
        # Named, since weights that all layers share are not among the module's own.
        self.logits.requires_grad_(requires_grad and self.spec.learnable)
        return self

    def scales(self, names: Sequence[str]) -> Tensor:
        """The weights of the adapters at hand: (N, 1)."""
        return torch.softmax(self.logits.of(names), dim=0).unsqueeze(-1)
