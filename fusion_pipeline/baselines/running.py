"""A command's baselines: one for each target, all data read and checked before the first trains."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline.baselines.sources import source_tasks
from fusion_pipeline.baselines.spec import Baseline
from fusion_pipeline.baselines.training import recorded, train_baseline
from fusion_pipeline.parents import find_parents
from fusion_pipeline.registry import build_from
from fusion_pipeline.run import Run
from fusion_pipeline.specs import read_specs
from fusion_pipeline.tasks.data import load_tasks


def run_baseline(run: Run) -> list[Path]:
    """Trains the baseline of the config for each of `target=`, unless it is there; returns their folders."""
    baseline: Baseline = build_from(run.section("baseline"), group="baseline")
    adapters = find_parents(run) if baseline.takes == "adapters" else {}
    specs = read_specs(run)
    joint = baseline.takes == "tasks"
    named = [
        [value, *(source_tasks(run, specs.data, value) if joint else ())] for value in run.names("target")
    ]
    loaded = [load_tasks(several, data=specs.data, columns=specs.columns) for several in named]
    return [
        train_baseline(recorded(run, several), baseline, specs, adapters, target, sources)
        for several, (target, *sources) in zip(named, loaded, strict=True)
    ]
