"""Joint full fine-tuning: one backbone for the target and all sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_pipeline.baselines.joint import check_selection, selected_by

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class MultitaskSpec:
    """All weights of the backbone and one head a task train on every task at once (Liu et al. 2019: MT-DNN).

    Each step is of one task; `sampling.*` says how steps are shared. `select`: the checkpoint that is kept is the
    best on validation of the "target", as every other baseline's is, or on the "mean" over tasks.
    """

    kind: str = "multitask"
    select: str = "target"
    takes: ClassVar[Takes] = "tasks"
    sections: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_selection(self.select)

    def prepare(self, given: Given) -> Training:
        """The backbone, unfrozen, and the heads, the target's first."""
        from fusion_pipeline.baselines.whole import whole_training

        specs = selected_by(given.specs, self.select, given.target.spec)
        return whole_training(given, [given.target, *given.sources], specs)
