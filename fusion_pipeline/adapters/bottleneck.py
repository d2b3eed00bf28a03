"""The bottleneck adapter (Houlsby et al. 2019; Pfeiffer et al. 2021; parallel: He et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import LowRankAdapter
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout
from fusion_pipeline.adapters.spec import Between, LowRank

INITS = ("normal", "kaiming")


@dataclass(frozen=True, kw_only=True)
class BottleneckSpec(Narrow):
    """A bottleneck adapter's settings.

    `width` is the bottleneck R; where it is None, R = max(1, hidden / reduction_factor).
    `init`: `normal` draws down and up from N(0, init_std); `kaiming` draws down uniformly and
    sets up to zero, so that training starts at the bare backbone.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "pfeiffer"
    activation: str = "relu"
    dropout: float = 0.0
    init: str = "normal"
    init_std: float = 0.02
    scaling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_dropout(self.dropout)
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        require(self.init in INITS, "init", self.init, f"one of: {', '.join(INITS)}")
        require_activation(self.activation)

    def build(self, d_in: int, d_out: int) -> Bottleneck:
        """The adapter module for one site."""
        return Bottleneck(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """R·D_in + R + D_out·R + D_out."""
        width = self.bottleneck(d_in)
        return width * d_in + width + d_out * width + d_out


class Bottleneck(LowRankAdapter):
    """Δ(x) = s·(U·drop(φ(D x + b)) + c).

    Shapes: x (…, D_in) → Δ (…, D_out); D is (R, D_in), U is (D_out, R).
    """

    def __init__(self, spec: BottleneckSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        self.down = nn.Linear(d_in, spec.bottleneck(d_in))
        self.up = nn.Linear(spec.bottleneck(d_in), d_out)
        self._initialise()

    def _initialise(self) -> None:
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=self.spec.init_std)
            nn.init.zeros_(linear.bias)
        if self.spec.init == "kaiming":
            nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
            nn.init.zeros_(self.up.weight)

    def low_rank(self) -> LowRank:
        """Its parts, for a bank."""
        return LowRank(
            down=self.down.weight,
            down_bias=self.down.bias,
            up=self.up.weight,
            up_bias=self.up.bias,
            scale=self.spec.scaling,
        )

    def between(self) -> Between:
        """Activation and dropout as the settings say."""
        # Frozen adapters are in eval mode during fusion training, so their own dropout is off there.
        return Between(
            width=self.down.out_features,
            activation=self.spec.activation,
            function=ACTIVATIONS[self.spec.activation],
            dropout=self.spec.dropout if self.training else 0.0,
        )
