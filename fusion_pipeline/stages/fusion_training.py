"""One fusion: from verified adapters and checked data to a published artefact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from fusion_pipeline.artefacts import load_adapter_into, weights_sha256, write_fusion
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.plan import show_done, show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity
from fusion_pipeline.stages.continuing import Former, find_former, with_old_targets
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.workflow import Training, announce, build_heads


def train_fusion(run: Run, specs: Specs, parents: dict[str, Path], tasks: Sequence[TaskData]) -> None:
    """Trains and publishes a fusion of `parents` for `tasks`, unless it is there."""
    _check_distinct(tasks)
    former = find_former(run, specs)
    if former is not None:
        former.check_targets(tasks)
        run = with_old_targets(run, former, tasks)
    name = run.artefact_name("+".join(data.spec.name for data in tasks))
    backbone = load_backbone(specs.backbone)
    announce(run, f"stage 2: fusion '{name}' of {', '.join(parents)}", backbone.name, tasks)
    model = AdaptedModel(backbone)
    for parent, folder in parents.items():
        load_adapter_into(model, folder, parent, head=False, verified=True)
    lineage: list[dict[str, Any]] = [{"name": p, "sha256": weights_sha256(f)} for p, f in parents.items()]
    job = Job(
        run=run,
        folder=run.output_root / "fusion" / name,
        config=_identity(run, tasks, lineage, model, former),
    )
    if job.is_done():
        show_done(run, job.folder, tasks)
        return
    set_seed(run.seed)
    model.add_fusion(name, specs.fusion, list(parents))
    build_heads(model, tasks, specs.head)
    if former is not None:
        former.carry_into(model, name, lineage)
    kept = [] if former is None else former.kept(tasks)
    tuned = list(parents) if specs.unfreeze.adapters else []
    model.train_only(adapters=tuned, fusion=name, heads=[data.spec.name for data in tasks])
    model.set_active(list(parents), fusion=name, head=tasks[0].spec.name)
    training = Training(
        job=job,
        specs=specs,
        kind="fusion",
        name=name,
        tasks=tasks,
        model=model,
        parents=lineage,
        adapters_learning_rate=specs.unfreeze.learning_rate if tuned else None,
        notes=[] if former is None else [f"goes on from the fusion '{former.manifest.name}'"],
        kept=[] if former is None else [data for data in former.data if data.spec in kept],
        after=None if former is None else lambda: former.scores(run, specs, model, job.work),
        write=lambda folder: write_fusion(
            model,
            name,
            [*(data.spec for data in tasks), *kept],
            folder,
            parents=parents,
            tuned=bool(tuned) or (former is not None and former.tuned),
        ),
    )
    if run.dry_run:
        show_plan(run, training)
        return
    training.execute()
    show_next(run, "fusion", job.folder, tasks[0].spec.name)


def _identity(
    run: Run,
    tasks: Sequence[TaskData],
    lineage: list[dict[str, Any]],
    model: AdaptedModel,
    former: Former | None,
) -> dict[str, Any]:
    # Without init= there is no such key: artefacts from before it are found again.
    since = {} if former is None else {"init": former.lineage()}
    return identity(
        run,
        ("fusion", "unfreeze"),
        target=[data.spec.name for data in tasks],
        adapters=lineage,
        data_fingerprint=[data.fingerprint for data in tasks],
        backbone_weights=model.info.fingerprint,
        **since,
    )


def _check_distinct(tasks: Sequence[TaskData]) -> None:
    names = [data.spec.name for data in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PipelineError(
            f"a target is named twice: {', '.join(twice)}", where="target", hint="name each once"
        )
