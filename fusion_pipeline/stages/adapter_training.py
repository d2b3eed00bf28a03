"""One adapter, for one task or for several: from checked data to a published artefact."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import set_seed

from fusion_pipeline.artefacts import write_adapter
from fusion_pipeline.backbone import Backbone
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.plan import show_done, show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.workflow import Training, announce, build_heads


def train_adapter(run: Run, specs: Specs, *tasks: TaskData) -> None:
    """Trains and publishes one adapter for a task, or one for several with a head for each, unless it is there."""
    training = prepare_adapter(run, specs, tasks, load_backbone(specs.backbone))
    if training is None:
        return
    if run.dry_run:
        show_plan(run, training)
        return
    training.execute()
    show_next(run, "adapter", training.job.folder, tasks[0].spec.name)


def prepare_adapter(
    run: Run, specs: Specs, tasks: Sequence[TaskData], backbone: Backbone, notes: Sequence[str] = ()
) -> Training | None:
    """The untrained adapter and the tasks' heads, active on the backbone; None where the artefact is there."""
    name = run.artefact_name("+".join(data.spec.name for data in tasks))
    announce(run, f"stage 1: adapter '{name}'", backbone.name, tasks)
    job = Job(run=run, folder=run.output_root / "adapters" / name, config=_config(run, tasks, backbone))
    if job.is_done():
        show_done(run, job.folder, tasks)
        return None
    return adapter_training(job, specs, name, tasks, backbone, notes)


def adapter_training(
    job: Job,
    specs: Specs,
    name: str,
    tasks: Sequence[TaskData],
    backbone: Backbone,
    notes: Sequence[str] = (),
) -> Training:
    """The untrained adapter and the tasks' heads, active on the backbone: how it trains and what it leaves."""
    set_seed(job.run.seed)
    heads = [data.spec for data in tasks]
    names = [head.name for head in heads]
    model = AdaptedModel(backbone)
    model.add_adapter(name, specs.adapter.for_tasks(names))
    build_heads(model, tasks, specs.head)
    model.train_only(adapters=[name], heads=names)
    model.set_active(name, head=names[0])
    return Training(
        job=job,
        specs=specs,
        kind="adapter",
        name=name,
        tasks=tasks,
        model=model,
        write=lambda folder: write_adapter(model, name, heads, folder),
        notes=list(notes),
    )


def _config(run: Run, tasks: Sequence[TaskData], backbone: Backbone) -> dict[str, object]:
    names, prints = [data.spec.name for data in tasks], [data.fingerprint for data in tasks]
    # One task is recorded as such, and not as a list of one: artefacts from before there were several are found again.
    one = len(tasks) == 1
    return identity(
        run,
        ("adapter",),
        task=names[0] if one else names,
        data_fingerprint=prints[0] if one else prints,
        backbone_weights=backbone.fingerprint,
    )
