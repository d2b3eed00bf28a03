"""What several tasks that train together are selected by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from fusion_pipeline.specs import Specs
    from fusion_pipeline.tasks.spec import TaskSpec

SELECTIONS = ("target", "mean")


def check_selection(select: str) -> None:
    """Refuses what no checkpoint can be selected by."""
    if select not in SELECTIONS:
        raise PipelineError(
            f"checkpoints cannot be selected by '{select}'",
            where="select",
            hint=did_you_mean(select, SELECTIONS),
        )


def selected_by(specs: Specs, select: str, target: TaskSpec) -> Specs:
    """The specs whose trainer keeps the checkpoint that is best on validation, of the target or on the mean over tasks.

    A `trainer.metric_for_best_model` of a person's own is left as it is.
    """
    fields = specs.trainer.fields
    if select != "target" or fields.get("metric_for_best_model") != "score":
        return specs
    own = {**fields, "metric_for_best_model": f"{target.name}/{target.metric}"}
    return replace(specs, trainer=replace(specs.trainer, fields=own))
