"""The target's own adapter, trained from scratch: what stage=adapters does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class SingleSpec:
    """One fresh adapter, of any `adapter=`, and a head train on the target; the backbone is frozen."""

    kind: str = "single"
    takes: ClassVar[Takes] = "nothing"
    sections: ClassVar[tuple[str, ...]] = ("adapter",)

    def prepare(self, given: Given) -> Training:
        """As stage 1 prepares it."""
        from fusion_pipeline.stages.adapter_training import adapter_training

        return adapter_training(given.job, given.specs, given.name, [given.target], given.backbone)
