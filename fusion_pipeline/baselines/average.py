"""The plain mean of the sources' adapters, with a head for the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class AverageSpec:
    """Δ(x) = 1/N Σ Δ_n(x) of the frozen source adapters; only the head trains. The same as fusion=average."""

    kind: str = "average"
    takes: ClassVar[Takes] = "adapters"
    sections: ClassVar[tuple[str, ...]] = ()

    def prepare(self, given: Given) -> Training:
        """As stage 2 prepares that fusion."""
        from fusion_pipeline import registry
        from fusion_pipeline.specs import UnfreezeSpec
        from fusion_pipeline.stages.fusion_training import fusion_over

        mean = registry.build("fusion", "average")
        specs = replace(given.specs, fusion=mean, unfreeze=UnfreezeSpec())
        made = fusion_over(given.job, specs, given.name, given.adapters, [given.target], given.backbone)
        over = ", ".join(given.adapters)
        what = f"The mean of the adapters {over}, with a head for {given.target.spec.name}, on the frozen backbone"
        return replace(made, what=what)
