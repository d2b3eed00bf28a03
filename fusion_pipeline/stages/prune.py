"""Drops the adapters that a trained fusion listens to least, and publishes what is left of it."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Prunes the fusion `run=` to `keep=` adapters, or while the metric stays within `tolerance=`."""
    folder = Path(str(run.required("run", example="run=outputs/fusion/rte keep=2"))).expanduser()
    manifest = store.verify(folder)
    if manifest.kind != "fusion":
        raise PipelineError(
            f"'{manifest.name}' is an {manifest.kind}, and only a fusion has adapters to drop", where="run"
        )
    check_goal(run, len(read_model(folder)["fusion"]["adapters"]))

    from fusion_pipeline.evaluation_data import load_evaluation_data

    tasks = load_evaluation_data(run, folder, manifest)

    from fusion_pipeline.stages.pruning import prune

    prune(run, folder, manifest, tasks)


def check_goal(run: Run, adapters: int) -> None:
    """Refuses both or neither of `keep=` and `tolerance=`, and values out of range."""
    keep, tolerance = run.value("keep"), run.value("tolerance")
    if (keep is None) == (tolerance is None):
        raise PipelineError(
            "prune needs one of keep= and tolerance=", where="keep", hint="keep=2, or tolerance=0.01"
        )
    if keep is not None and (type(keep) is not int or not 1 <= keep < adapters):
        hint = f"1 to {adapters - 1}" if adapters > 1 else "there is one adapter only"
        raise PipelineError(f"keep={keep} is out of range", where="keep", hint=hint)
    if tolerance is not None and (type(tolerance) not in (int, float) or tolerance < 0):
        raise PipelineError(f"tolerance={tolerance} is out of range", where="tolerance", hint="0 or more")
