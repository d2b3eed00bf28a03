"""LoRA: a low-rank delta beside linears of the backbone (Hu et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import LowRankAdapter
from fusion_pipeline.adapters.settings import Placed, require, require_dropout
from fusion_pipeline.adapters.spec import Between, LowRank
from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from fusion_pipeline.sites.table import SiteTable


@dataclass(frozen=True, kw_only=True)
class LoraSpec(Placed):
    """LoRA's settings (Hu et al. 2022, section 4.1; `rslora`: Kalajdzievski 2023).

    `targets` are linears of a layer by our names (`query`, `key`, `value`, `attention_output`, `ffn_up`, `ffn_down`, or
    what the family has in their place); where there are none, those of the placement: the queries and values.
    The scale s is alpha / rank, with `rslora` alpha / √rank. `dropout` falls on x.
    Parameters at a site: R·(D_in + D_out). Raises `PipelineError` for a value out of range, and for a target
    that the family has not.
    """

    kind: str = "lora"
    placement: str = "lora"
    targets: tuple[str, ...] = ()
    rank: int = 8
    alpha: float = 16.0
    rslora: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "targets", tuple(self.targets))
        require(self.rank >= 1, "rank", self.rank, "a whole number of at least 1")
        require(self.alpha > 0, "alpha", self.alpha, "a number above 0")
        require_dropout(self.dropout)
        twice = len(set(self.targets)) < len(self.targets)
        require(not twice, "targets", list(self.targets), "each linear once")

    @property
    def scale(self) -> float:
        """s: what the delta is multiplied with."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def rows(self, table: SiteTable) -> tuple[str, ...]:
        """The targets, each of which must be a linear of the family."""
        for target in self.targets:
            if target not in table.linears:
                raise PipelineError(
                    f"a layer of {table.family} has no linear '{target}'",
                    where="adapter.targets",
                    hint=f"one or more of: {', '.join(table.linears)}",
                )
        return self.targets or table.sites_of(self.placement)

    def build(self, d_in: int, d_out: int) -> Lora:
        """The adapter module for one linear."""
        return Lora(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """R·(D_in + D_out)."""
        return self.rank * (d_in + d_out)


class Lora(LowRankAdapter):
    """Δ(x) = s·B A drop(x), so that W x + Δ(x) = (W + s·B A) x.

    Shapes: x (…, D_in) → Δ (…, D_out); A is (R, D_in), B is (D_out, R). B starts at zero.
    """

    def __init__(self, spec: LoraSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        self.down = nn.Parameter(torch.empty(spec.rank, d_in))
        self.up = nn.Parameter(torch.zeros(d_out, spec.rank))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def low_rank(self) -> LowRank:
        """A and B as they are."""
        return LowRank(
            down=self.down,
            down_bias=None,
            up=self.up,
            up_bias=None,
            scale=self.spec.scale,
        )

    def between(self) -> Between:
        """No activation; dropout falls on the input."""
        return Between(
            width=self.spec.rank,
            activation="identity",
            function=ACTIVATIONS["identity"],
            input_dropout=self.spec.dropout if self.training else 0.0,
        )
