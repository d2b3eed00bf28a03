"""What is said before and after a training: the plan of a dry run, an artefact that is there, what to run next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.reporting.table import show_results
from fusion_pipeline.run import Run
from fusion_pipeline.task_choice import tasks_apart
from fusion_pipeline.tasks.data import TaskData

if TYPE_CHECKING:
    from fusion_pipeline.workflow import Training


def show_plan(run: Run, training: Training) -> None:
    """What a run would do, with everything checked; nothing is written."""
    from fusion_pipeline.training.arguments import build_arguments

    args = build_arguments(
        training.specs.trainer, work=training.job.work, seed=run.seed, use_wandb=False, unused=False
    )
    counts = training.model.parameter_counts()
    rows = sum(len(data.splits["train"]) for data in training.tasks)
    per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = args.max_steps if args.max_steps > 0 else int(-(-rows // per_step) * args.num_train_epochs)
    run.console.print(
        f"plan: train {counts['trainable']:,} of {counts['total']:,} parameters on {rows:,} examples, about "
        f"{steps:,} steps of {per_step}, learning rate {args.learning_rate:g}, seed {run.seed}, "
        f"into {training.job.folder}",
        soft_wrap=True,
    )
    run.console.print("dry run: everything was checked, nothing was trained or written")


def show_done(run: Run, folder: Path, tasks: Sequence[TaskData]) -> None:
    """The results of an artefact that is there already."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    run.console.print(
        f"{folder} is there already, made with these very settings; overwrite=true trains it again",
        soft_wrap=True,
    )
    show_results(run.console, folder.name, tasks, metrics)


def show_next(run: Run, kind: str, folder: Path, task: str) -> None:
    """Where the artefact lies and what to run with it."""
    if not run.is_main_process:
        return  # the others may be here before the artefact is
    run.console.print(f"saved: {folder}", soft_wrap=True)
    root = "" if str(run.output_root) == "outputs" else f" output_root={run.output_root}"
    if kind == "adapter":
        chosen = f"{folder.name}:{task}" if tasks_apart(folder) else folder.name
        run.console.print(
            f"next:  python -m fusion_pipeline stage=fusion adapters=[{chosen},...] target=...{root}",
            soft_wrap=True,
            markup=False,
        )
    else:
        run.console.print(
            f'next:  python -m fusion_pipeline stage=predict run={folder} text="..."',
            soft_wrap=True,
            markup=False,
        )
