"""Weights that are one matrix product of the layer's input: the simplest dynamic mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.fusion.checks import require
from fusion_pipeline.fusion.forms import DynamicFusion
from fusion_pipeline.fusion.per_adapter import PerAdapter
from fusion_pipeline.fusion.spec import softmax_over_adapters


@dataclass(frozen=True, kw_only=True)
class LinearSpec:
    """Settings of the linear mix: W starts at N(0, init_std).

    Mixes deltas; the weights of a token sum to 1. Parameters a site: N·D.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "linear"
    wants: ClassVar[frozenset[str]] = frozenset()
    init_std: float = 0.02

    def __post_init__(self) -> None:
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Linear:
        """The fusion of one site."""
        return Linear(self, d_in, adapters)


class Linear(DynamicFusion):
    """Δ = Σ_n softmax(W x)_n Δ_n. Shapes: x (…, D_in) → delta (…, D_out), weights (…, N); W is (N, D_in)."""

    def __init__(self, spec: LinearSpec, d_in: int, adapters: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.rows = PerAdapter(adapters, d_in)
        nn.init.normal_(self.rows.values, std=spec.init_std)

    def weights(self, x: Tensor, names: Sequence[str]) -> Tensor:
        """softmax over the adapters at hand."""
        return softmax_over_adapters(F.linear(x, self.rows.of(names)))
