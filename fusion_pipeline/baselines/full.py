"""Full fine-tuning: every weight of the backbone learns the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class FullSpec:
    """All weights of the backbone and a head train (Devlin et al. 2019); no adapter.

    Weight decay, where there is any, spares biases and norms. Trained: everything but a pooler that nothing reads.
    """

    kind: str = "full"
    takes: ClassVar[Takes] = "nothing"
    sections: ClassVar[tuple[str, ...]] = ()

    def prepare(self, given: Given) -> Training:
        """The backbone, unfrozen, and a head."""
        from fusion_pipeline.baselines.whole import whole_training

        return whole_training(given, [given.target])
