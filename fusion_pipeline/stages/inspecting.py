"""One inspection: from a fusion and its data to a folder that a person can open."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from fusion_pipeline.artefacts import load_model
from fusion_pipeline.inspection.looking import Subject, look
from fusion_pipeline.inspection.rows import effect_rows
from fusion_pipeline.inspection.spec import InspectSpec
from fusion_pipeline.inspection.writing import write_report
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.reporting.filing import group_of, tags_of
from fusion_pipeline.reporting.tracking import tracking
from fusion_pipeline.run import Run
from fusion_pipeline.specs import read_mix, read_trainer
from fusion_pipeline.stages.inspect import Given
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.training.encoding import encode_task
from fusion_pipeline.training.fit import FitSpec, build_trainer
from fusion_pipeline.workflow import announce, command_line, describe_data, tracking_spec


def inspect(
    run: Run,
    spec: InspectSpec,
    folder: Path,
    manifest: Manifest,
    tasks: Sequence[TaskData],
    given: Given | None,
) -> None:
    """Looks and writes; nothing in `folder` is touched."""
    started = time.monotonic()
    name = run.artefact_name(manifest.name + ("" if spec.split == "validation" else f"-{spec.split}"))
    target = run.output_root / "inspect" / name
    model = load_model(
        folder, adapters=run.names("adapters") or None, backbone=run.section("backbone").get("path")
    )
    announce(run, f"inspect: fusion '{manifest.name}'", model.info.name, tasks)
    if run.dry_run:
        run.console.print(f"plan: {', '.join(model.fusing)} on {spec.split}, into {target}")
        run.console.print("dry run: everything was checked, nothing was looked at or written")
        return
    found = look(_subject(run, spec, model, tasks), given) | {
        "run": manifest.name,
        "data": [describe_data(data) for data in tasks],
        "backbone": manifest.backbone,
        "versions": manifest.versions,
        "history": _history(folder),
        "command": command_line(),
    }
    if run.is_main_process:
        found["seconds"] = round(time.monotonic() - started, 1)
        write_report(found, target, pictures=spec.pictures)
        _track(run, found, model, target)
        _show(run, found)
        run.console.print(f"saved: {target / 'inspect.html'}", soft_wrap=True)


def _subject(run: Run, spec: InspectSpec, model: AdaptedModel, tasks: Sequence[TaskData]) -> Subject:
    cut = [_cut(data, spec, run.seed) for data in tasks]
    cache = run.output_root / ".cache" / "tokens"
    encoded = [encode_task(data, model.info, cache)[spec.split] for data, _ in cut]
    fit_spec = FitSpec(
        trainer=read_trainer(run),
        mix=read_mix(run),
        seed=run.seed,
        work=run.output_root / "inspect",
        label="inspect",
    )
    specs = [data.spec for data, _ in cut]
    trainer, _ = build_trainer(model, specs, {"validation": encoded}, fit_spec)
    positions = [kept for _, kept in cut]
    return Subject(
        trainer=trainer, tasks=specs, encoded=encoded, positions=positions, spec=spec, seed=run.seed
    )


def _cut(data: TaskData, spec: InspectSpec, seed: int) -> tuple[TaskData, np.ndarray]:
    """The split that is looked at, or `limit` rows of it in their order; and which rows those are."""
    rows = data.splits[spec.split]
    positions = np.arange(len(rows))
    if spec.limit is None or len(rows) <= spec.limit:
        return replace(data, splits={spec.split: rows}), positions
    positions = np.sort(np.random.default_rng([seed, 0]).choice(len(rows), spec.limit, replace=False))
    # Tokens are kept under the fingerprint, and these are other rows.
    own = f"{data.fingerprint}-{spec.limit}-{seed}"
    kept = {spec.split: [rows[i] for i in positions]}
    return replace(data, splits=kept, fingerprint=own), positions


def _history(folder: Path) -> list[dict[str, Any]]:
    """What the fusion listened to at each evaluation of its training; nothing where that was not recorded."""
    path = folder / "fusion_weights.json"
    if not path.is_file():
        return []
    history: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")).get("history", [])
    return history


def _track(run: Run, found: dict[str, Any], model: AdaptedModel, folder: Path) -> None:
    """Tables and pictures at wandb, in a run of their own."""
    name, tasks = folder.name, list(found["targets"])
    job = tracking(
        tracking_spec(run),
        root=run.output_root,
        name=f"inspect-{name}",
        job_type=run.stage,
        config=run.config | {"lineage": {"parents": [{"name": found["run"]}], "data": found["data"]}},
        main=run.is_main_process,
        group=group_of(run, name),
        tags=tags_of(model, tasks, run.seed),
    )
    with job as track:
        for task in tasks:
            header, *rows = effect_rows(found, task)
            track.table(f"inspect/{task}", header, rows)
        track.pictures(folder)


def _show(run: Run, found: dict[str, Any]) -> None:
    for task, told in found["targets"].items():
        header, *rows = effect_rows(found, task)
        table = Table(*header, title=f"{task}: {told['metric']} on {found['split']}", title_justify="left")
        for row in rows:
            table.add_row(*row)
        run.console.print(table)
