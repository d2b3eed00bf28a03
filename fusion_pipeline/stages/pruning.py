"""One pruned fusion: from a trained one and its data to a published artefact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from torch import nn

from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.artefacts import FUSION, find_parent, load_model, write_fusion
from fusion_pipeline.components import PerSite
from fusion_pipeline.derived import derived_run, section_of
from fusion_pipeline.fusion.carrying import carry, check_carried, spec_over
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.plan import show_done, show_next
from fusion_pipeline.pruning import Look, as_json, drop_weakest
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, identity, read_specs
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import Fit, FitSpec, build_trainer, evaluate_splits
from fusion_pipeline.training.speed import examples_per_second
from fusion_pipeline.training.trainer import PipelineTrainer
from fusion_pipeline.workflow import Training, announce, encode, write_json

Splits = dict[str, list[Encoded]]


def prune(run: Run, folder: Path, manifest: Manifest, tasks: Sequence[TaskData]) -> None:
    """Drops, looks, and publishes the fusion of the adapters that stay, unless it is there."""
    name = run.artefact_name(f"{manifest.name}-pruned")
    model = load_model(folder, backbone=run.section("backbone").get("path"))
    spec, adapters = _spec(model), list(model.active_adapters)
    # Refuses now what cannot be carried over at the end.
    check_carried(spec)
    sections = {"adapters": adapters, "fusion": section_of("fusion", spec)}
    own = derived_run(run, folder, manifest, tasks_as="target", **sections)
    announce(run, f"prune: fusion '{manifest.name}' into '{name}'", model.info.name, tasks)
    job = Job(
        run=own, folder=run.output_root / "fusion" / name, config=_identity(own, manifest, tasks, model)
    )
    if job.is_done():
        show_done(run, job.folder, tasks)
        return
    if run.dry_run:
        run.console.print(f"plan: drop of {', '.join(adapters)}, {_goal(run)}, into {job.folder}")
        run.console.print("dry run: everything was checked, nothing was pruned or written")
        return
    _Pruning(job=job, folder=folder, manifest=manifest, tasks=tasks, model=model).execute(name)
    show_next(run, "fusion", job.folder, tasks[0].spec.name)


@dataclass(frozen=True, kw_only=True)
class _Pruning:
    job: Job
    folder: Path
    manifest: Manifest
    tasks: Sequence[TaskData]
    model: AdaptedModel

    def execute(self, name: str) -> None:
        """Drops adapters until the goal is reached, reads test once, and publishes."""
        start, run = time.monotonic(), self.job.run
        specs = read_specs(run)
        splits = encode(self.tasks, self.model.info, run.output_root)
        with self.job.writing() as work:
            fit_spec = FitSpec(trainer=specs.trainer, mix=specs.mix, seed=run.seed, work=work, label="prune")
            trainer, _ = build_trainer(self.model, [data.spec for data in self.tasks], splits, fit_spec)
            steps, kept = drop_weakest(
                self.model.active_adapters,
                lambda adapters: self._look(trainer, splits, adapters),
                keep=run.value("keep"),
                tolerance=run.value("tolerance"),
            )
            done = self._finish(name, trainer, splits, kept)
            if run.is_main_process:
                training = self._training(name, specs, steps, kept, done)
                seconds = round(time.monotonic() - start, 2)
                counts = {"seconds": seconds, "parameters": self.model.parameter_counts(), "epochs": 0.0}
                training.publish(done, done.metrics | counts)
                self.job.finish()
                _show(run, steps, kept)

    def _look(self, trainer: PipelineTrainer, splits: Splits, adapters: tuple[str, ...]) -> Look:
        self.model.set_active(adapters, fusion=self.model.active_fusion)
        found, _, weights = evaluate_splits(trainer, self._specs, splits, ("validation",))
        metrics = found["validation"]
        return Look(
            adapters=adapters,
            validation=metrics,
            score=metrics["score"] if "score" in metrics else metrics[self._specs[0].metric],
            speed=examples_per_second(trainer, splits["validation"]),
            weights=weights["validation"],
        )

    def _finish(self, name: str, trainer: PipelineTrainer, splits: Splits, kept: Look) -> Fit:
        """The fusion of the adapters that stay, built anew with their weights; scored on validation and test."""
        former = self.model.fusions[str(self.model.active_fusion)]
        self.model.fusions.drop(str(self.model.active_fusion))
        self.model.add_fusion(name, spec_over(_spec_of(former), kept.adapters), kept.adapters)
        carry(former, self.model.fusions[name])
        self.model.fusions[name].requires_grad_(False)
        self.model.set_active(kept.adapters, fusion=name)
        self.model.eval()
        metrics, outputs, weights = evaluate_splits(trainer, self._specs, splits, ("validation", "test"))
        return Fit(
            metrics=metrics,
            outputs=outputs,
            fusion_weights=weights["validation"],
            weight_history=[],
            seconds=0.0,
            steps=0,
            epochs=0.0,
        )

    def _training(self, name: str, specs: Specs, steps: Sequence[Look], kept: Look, done: Fit) -> Training:
        parents = {a: find_parent(self.folder, self.manifest, a) for a in kept.adapters}
        tuned = bool(read_model(self.folder)["tuned"])
        report = as_json(steps, kept, done.metrics["test"])

        def write(folder: Path) -> None:
            write_fusion(self.model, name, self._specs, folder, parents=parents, tuned=tuned)
            write_json(folder / "prune.json", {"parent": self.manifest.name, **report})

        dropped = [a for a in steps[0].adapters if a not in kept.adapters]
        gone = f"dropped: {', '.join(dropped)}" if dropped else "nothing could be dropped"
        return Training(
            job=self.job,
            specs=specs,
            kind="fusion",
            name=name,
            tasks=self.tasks,
            model=self.model,
            parents=[p for p in self.manifest.parents if p["name"] in kept.adapters],
            notes=[f"pruned from the fusion '{self.manifest.name}', {_goal(self.job.run)}; {gone}"],
            write=write,
        )

    @property
    def _specs(self) -> list[TaskSpec]:
        return [data.spec for data in self.tasks]


def _identity(run: Run, manifest: Manifest, tasks: Sequence[TaskData], model: AdaptedModel) -> dict[str, Any]:
    return identity(
        run,
        ("fusion",),
        target=[data.spec.name for data in tasks],
        adapters=manifest.parents,
        data_fingerprint=[data.fingerprint for data in tasks],
        backbone_weights=model.info.fingerprint,
        pruned={"run": manifest.name, "sha256": manifest.files[FUSION], "goal": _goal(run)},
    )


def _goal(run: Run) -> str:
    keep = run.value("keep")
    return f"tolerance={run.value('tolerance')}" if keep is None else f"keep={keep}"


def _spec(model: AdaptedModel) -> Any:
    return _spec_of(model.fusions[str(model.active_fusion)])


def _spec_of(fusion: nn.Module) -> Any:
    assert isinstance(fusion, PerSite)
    return fusion.spec


def _show(run: Run, steps: Sequence[Look], kept: Look) -> None:
    table = Table(
        "adapters", "weakest", "mass", "score", "examples/s", "×", title_justify="left", title="pruning"
    )
    for step in steps:
        weakest = min(step.mass, key=step.mass.__getitem__)
        table.add_row(
            f"{len(step.adapters)}{' (kept)' if step is kept else ''}",
            weakest,
            f"{step.mass[weakest]:.3f}",
            f"{step.score:.4f}",
            f"{step.speed:,.0f}",
            f"{step.speed / steps[0].speed:.2f}",
        )
    run.console.print(table)
