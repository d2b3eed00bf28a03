"""One baseline: from checked data to a published artefact, as every training stage does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_pipeline.artefacts import weights_sha256
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.baselines.spec import Baseline, Given
from fusion_pipeline.job import Job
from fusion_pipeline.plan import show_done, show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.workflow import announce


def train_baseline(
    run: Run,
    baseline: Baseline,
    specs: Specs,
    adapters: Mapping[str, Path],
    target: TaskData,
    sources: Sequence[TaskData] = (),
) -> Path:
    """Trains and publishes a baseline for `target`, unless it is there; returns its folder.

    `run.config["target"]` must name the data of target and sources, in this order: it is how the artefact's data
    are found again.
    """
    name = run.artefact_name(f"{target.spec.name}-{baseline.kind}")
    backbone = load_backbone(specs.backbone)
    tasks = [target, *sources]
    over = f" from {', '.join(adapters)}" if adapters else ""
    announce(run, f"baseline: {baseline.kind} '{name}'{over}", backbone.name, tasks)
    job = Job(
        run=run,
        folder=run.output_root / "baselines" / name,
        config=_identity(run, baseline, adapters, tasks, backbone.fingerprint),
    )
    if job.is_done():
        show_done(run, job.folder, tasks)
        return job.folder
    given = Given(
        job=job,
        specs=specs,
        name=name,
        target=target,
        backbone=backbone,
        adapters=adapters,
        sources=sources,
    )
    training = baseline.prepare(given)
    if run.dry_run:
        show_plan(run, training)
        return job.folder
    training.execute()
    show_next(run, "baseline", job.folder, target.spec.name)
    return job.folder


def recorded(run: Run, values: Sequence[str]) -> Run:
    """The run whose config says what one artefact was trained on: these tasks, the target first."""
    return replace(run, config=run.config | {"task": None, "target": list(values)})


def _identity(
    run: Run,
    baseline: Baseline,
    adapters: Mapping[str, Path],
    tasks: Sequence[TaskData],
    backbone_weights: str,
) -> dict[str, Any]:
    lineage = [{"name": name, "sha256": weights_sha256(folder)} for name, folder in adapters.items()]
    return identity(
        run,
        ("baseline", *baseline.sections),
        target=[data.spec.name for data in tasks],
        adapters=lineage,
        data_fingerprint=[data.fingerprint for data in tasks],
        backbone_weights=backbone_weights,
    )
