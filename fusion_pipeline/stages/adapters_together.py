"""Several adapters of stage 1 in one training: each as if it had trained alone, in an artefact of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.plan import show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs
from fusion_pipeline.stages.adapter_training import prepare_adapter
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.together import Together
from fusion_pipeline.training.fit_together import check_trainer, fit_together
from fusion_pipeline.training.lane import Lane
from fusion_pipeline.workflow import Training, encode


def train_together(run: Run, specs: Specs, tasks: Sequence[TaskData]) -> None:
    """Trains the adapters of all tasks at once, except those that are there; publishes one artefact each."""
    check_together(run, specs)
    backbone = load_backbone(specs.backbone)
    notes = [f"trained together with: {', '.join(data.spec.name for data in tasks)}"]
    trainings = []
    for data in tasks:
        training = prepare_adapter(run, specs, [data], backbone, notes)
        if training is not None:
            # One backbone serves all of them: none may stay on it.
            training.model.set_active(None)
            trainings.append(training)
    if not trainings:
        return
    Together({training.name: training.model for training in trainings})
    if run.dry_run:
        for training in trainings:
            show_plan(run, training)
        return
    _execute(run, trainings)


def check_together(run: Run, specs: Specs) -> None:
    """Refuses what a joint training cannot do, before the backbone is loaded."""
    if run.resume:
        raise PipelineError(
            "adapters that train together leave no checkpoints to go on from",
            where="resume",
            hint="without resume=true they start anew; those that are published already are left as they are",
        )
    check_trainer(specs.trainer)


def _execute(run: Run, trainings: Sequence[Training]) -> None:
    with ExitStack() as held:
        works = [held.enter_context(training.job.writing()) for training in trainings]
        lanes = [_lane(training, work) for training, work in zip(trainings, works, strict=True)]
        fits = fit_together(lanes, run.console.print)
        for training, done in zip(trainings, fits, strict=True):
            training.conclude(done)
            show_next(run, "adapter", training.job.folder, training.tasks[0].spec.name)


def _lane(training: Training, work: Path) -> Lane:
    splits = encode(training.tasks, training.model.info, training.run.output_root)
    return Lane(training.name, training.model, training.tasks[0].spec, splits, training.fit_spec(work))
