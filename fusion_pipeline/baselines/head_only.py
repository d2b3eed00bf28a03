"""A head on the bare backbone: how much of the task its features know already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class HeadOnlySpec:
    """logits = head(pool(backbone(x))), and only the head trains; `head.layers=1` makes it a linear probe.

    The backbone runs without dropout, so that its features f (D,) are the same in every epoch: they are computed
    once for each example. Trained: D² + D + D·C + C, or D·C + C with one layer.
    """

    kind: str = "head_only"
    takes: ClassVar[Takes] = "nothing"
    sections: ClassVar[tuple[str, ...]] = ()

    def prepare(self, given: Given) -> Training:
        """A head on the frozen backbone."""
        from transformers import set_seed

        from fusion_pipeline.artefacts import write_head
        from fusion_pipeline.model import AdaptedModel
        from fusion_pipeline.workflow import Training, build_heads

        task = given.target.spec
        set_seed(given.run.seed)
        model = AdaptedModel(given.backbone)
        model.backbone_dropout = False
        build_heads(model, [given.target], given.specs.head)
        model.train_only(heads=[task.name])
        model.set_active(None, head=task.name)
        # All layers are reused: there is nothing left for this option.
        trainer = replace(given.specs.trainer, reuse_lower_layers=False)
        return Training(
            job=given.job,
            specs=replace(given.specs, trainer=trainer),
            kind="head",
            name=given.name,
            tasks=[given.target],
            model=model,
            write=lambda folder: write_head(model, [task], folder),
            reuse_features=True,
            what=f"A head for {task.name}, on the frozen backbone",
        )
