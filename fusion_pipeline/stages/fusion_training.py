"""One fusion: from verified adapters and checked data to a published artefact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from fusion_pipeline.artefacts import load_adapter_into, weights_sha256, write_fusion
from fusion_pipeline.backbone import Backbone
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fresh import fresh_names, write_fresh
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.plan import show_done, show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity
from fusion_pipeline.stages.continuing import Former, find_former, with_old_targets
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.workflow import Training, announce, build_heads


def train_fusion(run: Run, specs: Specs, parents: dict[str, Path], tasks: Sequence[TaskData]) -> None:
    """Trains and publishes a fusion of `parents` for `tasks`, unless it is there.

    With `unfreeze.fresh=true` the adapters are new, and `parents` is not looked at.
    """
    _check_distinct(tasks)
    former = find_former(run, specs)
    if former is not None:
        former.check_targets(tasks)
        run = with_old_targets(run, former, tasks)
    fresh = fresh_names(run) if specs.unfreeze.fresh else []
    name = run.artefact_name("+".join(data.spec.name for data in tasks))
    model = AdaptedModel(load_backbone(specs.backbone))
    adapters = fresh or list(parents)
    announce(run, f"stage 2: fusion '{name}' of {', '.join(adapters)}", model.info.name, tasks)
    for parent, folder in {} if fresh else parents.items():
        load_adapter_into(model, folder, parent, head=False, verified=True)
    lineage = _lineage(parents, fresh)
    config = _identity(run, tasks, lineage, model, former)
    job = Job(run=run, folder=run.output_root / "fusion" / name, config=config)
    if job.is_done():
        show_done(run, job.folder, tasks)
        return
    set_seed(run.seed)
    for adapter in fresh:
        model.add_adapter(adapter, specs.adapter)
    training = _prepare(job, name, specs, parents, tasks, model, lineage, former)
    if run.dry_run:
        show_plan(run, training)
        return
    training.execute()
    show_next(run, "fusion", job.folder, tasks[0].spec.name)


def fusion_over(
    job: Job,
    specs: Specs,
    name: str,
    parents: Mapping[str, Path],
    tasks: Sequence[TaskData],
    backbone: Backbone,
) -> Training:
    """The untrained fusion of verified adapters and the tasks' heads: how it trains and what it leaves."""
    model = AdaptedModel(backbone)
    for parent, folder in parents.items():
        load_adapter_into(model, folder, parent, head=False, verified=True)
    set_seed(job.run.seed)
    return _prepare(job, name, specs, dict(parents), tasks, model, _lineage(dict(parents), []), None)


def _prepare(
    job: Job,
    name: str,
    specs: Specs,
    parents: dict[str, Path],
    tasks: Sequence[TaskData],
    model: AdaptedModel,
    lineage: list[dict[str, Any]],
    former: Former | None,
) -> Training:
    """Adds fusion and heads over the model's adapters, chooses what trains, and says how it is written."""
    adapters = model.adapters.names()
    model.add_fusion(name, specs.fusion, adapters)
    build_heads(model, tasks, specs.head)
    if former is not None:
        former.carry_into(model, name, lineage)
    tuned = adapters if specs.unfreeze.adapters else []
    model.train_only(adapters=tuned, fusion=name, heads=[data.spec.name for data in tasks])
    model.set_active(adapters, fusion=name, head=tasks[0].spec.name)
    kept = [] if former is None else former.kept(tasks)
    own_rate = bool(tuned) and not specs.unfreeze.fresh
    heads = [*(data.spec for data in tasks), *kept]
    return Training(
        job=job,
        specs=specs,
        kind="fusion",
        name=name,
        tasks=tasks,
        model=model,
        parents=lineage,
        adapters_learning_rate=specs.unfreeze.learning_rate if own_rate else None,
        notes=_notes(specs, former),
        kept=[] if former is None else [data for data in former.data if data.spec in kept],
        after=None if former is None else lambda: former.scores(job.run, specs, model, job.work),
        write=lambda folder: _write(job, name, specs, parents, model, heads, former, folder),
    )


def _write(
    job: Job,
    name: str,
    specs: Specs,
    parents: dict[str, Path],
    model: AdaptedModel,
    heads: Sequence[TaskSpec],
    former: Former | None,
    folder: Path,
) -> None:
    tuned = specs.unfreeze.adapters or (former is not None and former.tuned)
    if specs.unfreeze.fresh:
        place, names = job.work / "fresh", model.adapters.names()
        parents = write_fresh(model, names, place, config=job.config, seed=job.run.seed, fusion=name)
        tuned = False
    write_fusion(model, name, heads, folder, parents=parents, tuned=tuned)


def _lineage(parents: dict[str, Path], fresh: Sequence[str]) -> list[dict[str, Any]]:
    if fresh:
        return [{"name": name} for name in fresh]
    return [{"name": name, "sha256": weights_sha256(folder)} for name, folder in parents.items()]


def _notes(specs: Specs, former: Former | None) -> list[str]:
    fresh = "its adapters were trained from scratch together with it"
    since = [] if former is None else [f"goes on from the fusion '{former.manifest.name}'"]
    return [fresh] if specs.unfreeze.fresh else since


def _identity(
    run: Run,
    tasks: Sequence[TaskData],
    lineage: list[dict[str, Any]],
    model: AdaptedModel,
    former: Former | None,
) -> dict[str, Any]:
    # Without init= and fresh there are no such keys: artefacts from before it are found again.
    since = {} if former is None else {"init": former.lineage()}
    unfreeze = run.section("unfreeze")
    fresh = unfreeze.pop("fresh", False)
    own = identity(
        run,
        ("fusion", "adapter") if fresh else ("fusion",),
        target=[data.spec.name for data in tasks],
        adapters=lineage,
        data_fingerprint=[data.fingerprint for data in tasks],
        backbone_weights=model.info.fingerprint,
        **since,
    )
    return own | {"unfreeze": unfreeze | ({"fresh": True} if fresh else {})}


def _check_distinct(tasks: Sequence[TaskData]) -> None:
    names = [data.spec.name for data in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PipelineError(
            f"a target is named twice: {', '.join(twice)}", where="target", hint="name each once"
        )
