"""A joint adapter: one adapter for the target and all sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_pipeline.baselines.joint import check_selection, selected_by

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class MultitaskAdapterSpec:
    """One adapter, of any `adapter=`, and one head a task train on every task at once; the backbone is frozen.

    What stage=adapters shared=true trains, over the target and its sources. `select` as in `MultitaskSpec`.
    """

    kind: str = "multitask_adapter"
    select: str = "target"
    takes: ClassVar[Takes] = "tasks"
    sections: ClassVar[tuple[str, ...]] = ("adapter",)

    def __post_init__(self) -> None:
        check_selection(self.select)

    def prepare(self, given: Given) -> Training:
        """As stage 1 prepares it, the target's head first."""
        from fusion_pipeline.stages.adapter_training import adapter_training

        specs = selected_by(given.specs, self.select, given.target.spec)
        tasks = [given.target, *given.sources]
        return adapter_training(given.job, specs, given.name, tasks, given.backbone)
