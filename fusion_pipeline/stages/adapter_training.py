"""One adapter: from checked data to a published artefact."""

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


def train_adapter(run: Run, specs: Specs, data: TaskData) -> None:
    """Trains and publishes the adapter of one task, unless it is there."""
    training = prepare_adapter(run, specs, data, load_backbone(specs.backbone))
    if training is None:
        return
    if run.dry_run:
        show_plan(run, training)
        return
    training.execute()
    show_next(run, "adapter", training.job.folder, data.spec.name)


def prepare_adapter(
    run: Run, specs: Specs, data: TaskData, backbone: Backbone, notes: Sequence[str] = ()
) -> Training | None:
    """The untrained adapter and head of one task, active on the backbone; None where the artefact is there."""
    name = run.artefact_name(data.spec.name)
    announce(run, f"stage 1: adapter '{name}'", backbone.name, [data])
    job = Job(run=run, folder=run.output_root / "adapters" / name, config=_config(run, data, backbone))
    if job.is_done():
        show_done(run, job.folder, [data])
        return None
    set_seed(run.seed)
    model = AdaptedModel(backbone)
    model.add_adapter(name, specs.adapter)
    build_heads(model, [data], specs.head)
    model.train_only(adapters=[name], heads=[data.spec.name])
    model.set_active(name, head=data.spec.name)
    return Training(
        job=job,
        specs=specs,
        kind="adapter",
        name=name,
        tasks=[data],
        model=model,
        write=lambda folder: write_adapter(model, name, [data.spec], folder),
        notes=list(notes),
    )


def _config(run: Run, data: TaskData, backbone: Backbone) -> dict[str, object]:
    return identity(
        run,
        ("adapter",),
        task=data.spec.name,
        data_fingerprint=data.fingerprint,
        backbone_weights=backbone.fingerprint,
    )
