"""Runs a comparison's jobs one after the other and writes its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.compare.jobs import job_run
from fusion_pipeline.compare.report import markdown, show, to_json
from fusion_pipeline.compare.results import Outcome, fusion_weights, summarise
from fusion_pipeline.compare.spec import CompareSpec
from fusion_pipeline.parents import find_parents
from fusion_pipeline.reporting.heatmap import save_heatmap
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, read_specs
from fusion_pipeline.stages.adapter_training import train_adapter
from fusion_pipeline.stages.fusion_training import train_fusion
from fusion_pipeline.tasks.data import TaskData, load_tasks
from fusion_pipeline.workflow import command_line, write_json


def compare(run: Run, spec: CompareSpec, specs: Specs) -> None:
    """All data is read and checked first; then sources, contenders, report."""
    sources = load_tasks(run.names("adapters"), data=specs.data, columns=specs.columns)
    targets = load_tasks(run.names("target"), data=specs.data, columns=specs.columns)
    name = run.artefact_name("+".join(data.spec.name for data in targets))
    if run.dry_run:
        total = len(sources) + len(targets) * len(spec.seeds) * len(spec.contenders)
        run.console.print(f"plan: {total} runs at most, those that are there already are used again")
    for data in sources:
        _train_source(run, spec, data)
    if run.dry_run:
        return
    outcomes = [
        _contender(run, spec, contender, data, seed, [source.spec.name for source in sources])
        for data in targets
        for seed in spec.seeds
        for contender in spec.contenders
    ]
    if outcomes and run.is_main_process:
        _report(run, name, outcomes)


def _train_source(run: Run, spec: CompareSpec, data: TaskData) -> None:
    job = job_run(
        run,
        stage="adapters",
        seed=run.seed,
        name=data.spec.name,
        overlay=spec.overlay("sources"),
        task=data.spec.name,
    )
    train_adapter(job, read_specs(job), data)


def _contender(
    run: Run, spec: CompareSpec, contender: str, data: TaskData, seed: int, sources: Sequence[str]
) -> Outcome:
    name = f"{data.spec.name}-{contender}-seed{seed}"
    overlay = spec.overlay(contender)
    if contender == "single":
        job = job_run(run, stage="adapters", seed=seed, name=name, overlay=overlay, task=data.spec.name)
        train_adapter(job, read_specs(job), data)
        folder = run.output_root / "adapters" / name
    else:
        job = job_run(
            run,
            stage="fusion",
            seed=seed,
            name=name,
            overlay=overlay,
            target=data.spec.name,
            adapters=list(sources),
        )
        train_fusion(job, read_specs(job), find_parents(job), [data])
        folder = run.output_root / "fusion" / name
    return Outcome(contender=contender, task=data.spec, seed=seed, folder=folder)


def _report(run: Run, name: str, outcomes: Sequence[Outcome]) -> None:
    rows = summarise(outcomes)
    weights = fusion_weights(outcomes)
    folder: Path = run.output_root / "compare" / name
    with store.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "results.json", {"rows": to_json(rows), "fusion_weights": weights})
        if weights:
            save_heatmap(weights, folder / "fusion_weights.png")
        report = markdown(rows, outcomes, weights, command_line())
        (folder / "report.md").write_text(report, encoding="utf-8")
    show(run.console, rows)
    run.console.print(f"saved: {folder / 'report.md'}", soft_wrap=True)
