"""ScaLearn (Frohmann et al., Findings of ACL 2024): each adapter's output is scaled, and nothing has to sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.fusion.checks import require
from fusion_pipeline.fusion.forms import StaticFusion
from fusion_pipeline.fusion.per_adapter import PerAdapter

PER = ("dimension", "layer", "shared_dimension", "shared")


@dataclass(frozen=True, kw_only=True)
class ScaLearnSpec:
    """Settings of ScaLearn.

    `per` is what has a scale of its own: `dimension` (each adapter, layer and dimension: ScaLearn), `layer` (each
    adapter and layer: ScaLearnUniform), `shared_dimension` (each adapter and dimension: ScaLearn++), `shared`
    (each adapter: ScaLearnUniform++). Scales start at N(init_sum / N, init_std); `dropout` falls on them, as in the
    authors' runs. `scale_rate` is how many times the learning rate they learn at: a few hundred steps at an adapter's
    rate leave numbers of the order of 1 where they start. Mixes deltas; the scales do not sum to 1, and one adapter
    alone keeps its scale.
    Parameters: N·D a site, N a site, N·D in all, N in all.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "scalearn"
    wants: ClassVar[frozenset[str]] = frozenset()
    per: Literal["dimension", "layer", "shared_dimension", "shared"] = "dimension"
    init_sum: float = 2.0
    init_std: float = 0.001
    dropout: float = 0.3
    scale_rate: float = 30.0

    def __post_init__(self) -> None:
        require(self.per in PER, "per", self.per, f"one of: {', '.join(PER)}")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        require(self.scale_rate > 0, "scale_rate", self.scale_rate, "above 0")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a number from 0 up to, but not, 1")

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> ScaLearn:
        """The fusion of one site."""
        return ScaLearn(self, d_out, adapters)


class ScaLearn(StaticFusion):
    """Δ = Σ_n ω_n ∘ Δ_n. Shapes: x (…, D_in) → delta (…, D_out), weights (…, N): each scale's mean over D."""

    sums_to_one = False

    def __init__(self, spec: ScaLearnSpec, d_out: int, adapters: Sequence[str]) -> None:
        super().__init__()
        self.spec = spec
        self.learning_rates = {"omega": spec.scale_rate}
        self.common = ("omega",) if spec.per.startswith("shared") else ()
        self.omega = PerAdapter(adapters, d_out if spec.per.endswith("dimension") else 1, decay=False)
        nn.init.normal_(self.omega.values, mean=spec.init_sum / len(adapters), std=spec.init_std)

    def scales(self, names: Sequence[str]) -> Tensor:
        """ω (N, D_out) or (N, 1) of the adapters at hand."""
        return F.dropout(self.omega.of(names), self.spec.dropout, self.training)
