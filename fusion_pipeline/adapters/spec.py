"""What every adapter kind says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from fusion_pipeline.sites.table import SiteTable


@dataclass(frozen=True, kw_only=True)
class Between:
    """What lies between the two projections of a low-rank adapter; costs nothing to ask for.

    `width` is R. `dropout` falls on φ(…) and `input_dropout` on x; both are 0 outside training.
    """

    width: int
    activation: str
    function: Callable[[Tensor], Tensor]
    dropout: float = 0.0
    input_dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """The projections of a delta `s·(U φ(D x + b) + c)`: what a low-rank bank stacks; some kinds compute them.

    Shapes: down (R, D_in), down_bias (R,), up (D_out, R), up_bias (D_out,); `scale` is s.
    """

    down: Tensor
    down_bias: Tensor | None
    up: Tensor
    up_bias: Tensor | None
    scale: float


class AdapterSpec(Protocol):
    """A checked description of an adapter kind; `build` makes the module for one site."""

    @property
    def kind(self) -> str:
        """The config's name, `configs/adapter/<kind>.yaml`."""
        ...

    @property
    def skip_layers(self) -> tuple[int, ...]:
        """Layers left without an adapter."""
        ...

    def rows(self, table: SiteTable) -> tuple[str, ...]:
        """The sites of the backbone's table that carry it."""
        ...

    def for_tasks(self, tasks: Sequence[str]) -> AdapterSpec:
        """The settings of one adapter that is trained for these tasks together."""
        ...

    def build(self, d_in: int, d_out: int) -> nn.Module:
        """The module for one site: (…, d_in) → delta (…, d_out)."""
        ...

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """Parameters at one site, without those in common."""
        ...

    def common_count(self, d_in: int, d_out: int) -> int:
        """Parameters that all sites have in common."""
        ...
