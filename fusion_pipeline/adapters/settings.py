"""What several adapter kinds have in common: where they sit, and how wide their bottleneck is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fusion_pipeline import errors
from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from fusion_pipeline.sites.table import SiteTable


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An adapter at every site of a placement, except in `skip_layers` (AdapterDrop's static part)."""

    kind: str
    placement: str = "pfeiffer"
    skip_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "skip_layers", tuple(self.skip_layers))

    def rows(self, table: SiteTable) -> tuple[str, ...]:
        """The sites it sits at, by the family's table."""
        return table.sites_of(self.placement)

    def for_tasks(self, tasks: Sequence[str]) -> Self:
        """The settings of one adapter for these tasks: the same, unless a kind has parts for each task."""
        return self

    def common_count(self, d_in: int, d_out: int) -> int:
        """Parameters that all sites have in common: none, unless a kind says otherwise."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Narrow(Placed):
    """A placed adapter with a bottleneck: `width` is R; where it is None, R = max(1, D_in / reduction_factor)."""

    reduction_factor: float = 16
    width: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.reduction_factor > 0, "reduction_factor", self.reduction_factor, "a number above 0")
        require(self.width is None or self.width >= 1, "width", self.width, "a whole number of at least 1")

    def bottleneck(self, hidden: int) -> int:
        """The width R at a site that reads this many dimensions."""
        return self.width if self.width is not None else max(1, int(hidden / self.reduction_factor))


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """Refuses a setting that is out of range."""
    errors.require(holds, f"adapter.{key}", value, wanted)


def require_dropout(value: float) -> None:
    """Refuses a dropout that is no probability, or drops everything."""
    require(0 <= value < 1, "dropout", value, "a number from 0 up to, but not, 1")


def require_name(key: str, name: str, known: Sequence[str]) -> None:
    """Refuses a word that is none of the known ones."""
    if name not in known:
        raise PipelineError(
            f"there is no {key} '{name}'", where=f"adapter.{key}", hint=did_you_mean(name, known)
        )


def require_activation(name: str) -> None:
    """Refuses an activation that there is not."""
    require_name("activation", name, tuple(ACTIVATIONS))
