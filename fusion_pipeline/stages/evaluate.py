"""Scores a trained adapter or fusion again, on its own data or on other data with the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline import store
from fusion_pipeline.artefact_json import task_specs
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.tasks.data import TaskData


def run(run: Run) -> None:
    """Loads `run=`, scores its heads (all, or those of `task=`) on validation and test, and writes what it found."""
    folder = Path(str(run.required("run", example="run=outputs/fusion/rte"))).expanduser()
    manifest = store.verify(folder)

    from fusion_pipeline.evaluation_data import load_evaluation_data

    tasks = load_evaluation_data(run, folder, manifest, some=True)

    from fusion_pipeline.artefacts import load_model
    from fusion_pipeline.workflow import announce

    model = load_model(
        folder, adapters=run.names("adapters") or None, backbone=run.section("backbone").get("path")
    )
    announce(run, f"evaluate: {manifest.kind} '{manifest.name}'", model.info.name, tasks)
    if run.dry_run:
        run.console.print("dry run: everything was checked, nothing was evaluated")
        return
    found = _score(run, model, tasks)
    if run.is_main_process:
        some = len(tasks) < len(task_specs(folder))
        heads = f"-{'+'.join(data.spec.name for data in tasks)}" if some else ""
        _report(run, f"{manifest.kind}-{manifest.name}{heads}", folder, tasks, found)


def _score(run: Run, model: AdaptedModel, tasks: Sequence[TaskData]) -> dict[str, Any]:
    """Metrics of both splits and what the fusion listened to on validation."""
    from fusion_pipeline.specs import read_mix, read_trainer
    from fusion_pipeline.training.fit import FitSpec, build_trainer, evaluate_splits
    from fusion_pipeline.workflow import encode, show_token_notes

    splits = encode(tasks, model.info, run.output_root)
    show_token_notes(run, splits, tasks)
    spec = FitSpec(
        trainer=read_trainer(run),
        mix=read_mix(run),
        seed=run.seed,
        work=run.output_root / "evaluate",
        label="evaluate",
    )
    specs = [data.spec for data in tasks]
    trainer, _ = build_trainer(model, specs, splits, spec)
    metrics, _, weights = evaluate_splits(trainer, specs, splits, ("validation", "test"))
    return {**metrics, "fusion_weights": weights["validation"]}


def _report(run: Run, base: str, folder: Path, tasks: Sequence[TaskData], found: dict[str, Any]) -> None:
    from fusion_pipeline.reporting.table import show_results
    from fusion_pipeline.workflow import describe_data, write_json

    name = run.artefact_name(base)
    path = run.output_root / "evaluate" / f"{name}.json"
    with store.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}")
        write_json(aside, {"run": str(folder), "data": [describe_data(data) for data in tasks], **found})
        aside.replace(path)
    show_results(run.console, base.replace("-", " ", 1), tasks, found)
    run.console.print(f"saved: {path}", soft_wrap=True)
