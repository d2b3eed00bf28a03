"""One distilled adapter: from a teacher and its data to a published artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from transformers import set_seed

from fusion_pipeline.artefacts import ADAPTER, FUSION, HEADS, load_model, write_adapter
from fusion_pipeline.backbone import Backbone
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.derived import derived_run
from fusion_pipeline.distillation import Distillation, DistillSpec
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.plan import show_done, show_next, show_plan
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity, read_specs
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import FitSpec, build_trainer, evaluate_splits
from fusion_pipeline.training.speed import examples_per_second
from fusion_pipeline.training.trainer import PipelineTrainer
from fusion_pipeline.workflow import Training, announce, build_heads, encode


def distill(run: Run, spec: DistillSpec, folder: Path, manifest: Manifest, tasks: Sequence[TaskData]) -> None:
    """Trains and publishes the student of the teacher in `folder`, unless it is there."""
    name = run.artefact_name(f"{manifest.name}-distilled")
    own = derived_run(run, folder, manifest, tasks_as="task")
    specs = read_specs(own)
    backbone = load_backbone(specs.backbone)
    announce(run, f"distill: {manifest.kind} '{manifest.name}' into '{name}'", backbone.name, tasks)
    lineage = _lineage(manifest)
    config = _identity(own, spec, lineage, tasks, backbone.fingerprint)
    job = Job(run=own, folder=run.output_root / "adapters" / name, config=config)
    if job.is_done():
        show_done(run, job.folder, tasks)
        return
    set_seed(run.seed)
    heads = [data.spec for data in tasks]
    student = _student(name, backbone, specs, tasks)
    training = Training(
        job=job,
        specs=specs,
        kind="adapter",
        name=name,
        tasks=tasks,
        model=student,
        parents=[lineage],
        notes=[f"distilled from the {manifest.kind} '{manifest.name}'"],
        write=lambda folder: write_adapter(student, name, heads, folder),
    )
    if run.dry_run:
        show_plan(own, training)
        return
    teacher = load_model(folder, backbone=specs.backbone.path)
    _Distilling(training=training, teacher=teacher, spec=spec).execute()
    show_next(run, "adapter", job.folder, heads[0].name)


def _student(name: str, backbone: Backbone, specs: Specs, tasks: Sequence[TaskData]) -> AdaptedModel:
    model = AdaptedModel(backbone)
    model.add_adapter(name, specs.adapter.for_tasks([data.spec.name for data in tasks]))
    build_heads(model, tasks, specs.head)
    model.train_only(adapters=[name], heads=[data.spec.name for data in tasks])
    model.set_active(name, head=tasks[0].spec.name)
    return model


@dataclass(frozen=True, kw_only=True)
class _Distilling:
    training: Training
    teacher: AdaptedModel
    spec: DistillSpec

    def execute(self) -> None:
        """Asks the teacher once about everything, trains the student on it, and compares the two."""
        training, heads = self.training, [data.spec for data in self.training.tasks]
        splits = encode(training.tasks, training.model.info, training.run.output_root)
        asked = self._trainer(self.teacher, splits)
        metrics, outputs, _ = evaluate_splits(asked, heads, splits, ("train", "validation", "test"))
        said = [torch.from_numpy(found.logits) for found in outputs["train"]]
        speed = examples_per_second(asked, splits["validation"])
        own = [training.model.head_spec(head.name) for head in heads]

        def after() -> dict[str, Any]:
            again = examples_per_second(self._trainer(training.model, splits), splits["validation"])
            seen = {"examples_per_second": again, "relative_speed": again / speed}
            return {"teacher": {**metrics, "examples_per_second": speed}, "student": seen}

        blend = Distillation(self.spec, self.teacher, said, own)
        found = replace(training, blend=blend, after=after).execute()
        _show(training.run, training.tasks, found)

    def _trainer(self, model: AdaptedModel, splits: dict[str, list[Encoded]]) -> PipelineTrainer:
        run, specs = self.training.run, self.training.specs
        spec = FitSpec(
            trainer=specs.trainer, mix=specs.mix, seed=run.seed, work=self.training.job.work, label="distill"
        )
        return build_trainer(model, [data.spec for data in self.training.tasks], splits, spec)[0]


def _lineage(manifest: Manifest) -> dict[str, Any]:
    weights = next(name for name in (FUSION, ADAPTER, HEADS) if name in manifest.files)
    return {"name": manifest.name, "sha256": manifest.files[weights]}


def _identity(
    run: Run, spec: DistillSpec, teacher: dict[str, Any], tasks: Sequence[TaskData], fingerprint: str
) -> dict[str, Any]:
    return identity(
        run,
        ("adapter", "distill"),
        teacher=teacher,
        task=[data.spec.name for data in tasks],
        data_fingerprint=[data.fingerprint for data in tasks],
        backbone_weights=fingerprint,
    )


def _show(run: Run, tasks: Sequence[TaskData], found: dict[str, Any]) -> None:
    table = Table("", "validation", "test", "examples/s", title="distilled", title_justify="left")
    metric = tasks[0].spec.metric if len(tasks) == 1 else "score"
    for who, scores, speed in (
        ("teacher", found["teacher"], found["teacher"]["examples_per_second"]),
        ("student", found, found["student"]["examples_per_second"]),
    ):
        values = (f"{scores[split][metric]:.4f}" for split in ("validation", "test"))
        table.add_row(who, *values, f"{speed:,.0f}")
    run.console.print(table)
    run.console.print(f"the student is {found['student']['relative_speed']:.2f} times as fast")
