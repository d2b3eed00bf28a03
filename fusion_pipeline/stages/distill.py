"""A trained fusion into one adapter that says the same."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains the adapter `adapter=` as the student of `run=`, on the data that `run=` was trained on."""
    folder = Path(str(run.required("run", example="run=outputs/fusion/rte adapter.width=48"))).expanduser()
    manifest = store.verify(folder)
    if run.value("name") is not None:
        run.artefact_name("")

    from fusion_pipeline.distillation import DistillSpec, check_teaching
    from fusion_pipeline.evaluation_data import load_evaluation_data
    from fusion_pipeline.specs import plain_spec

    spec = plain_spec(DistillSpec, run, "distill")
    tasks = load_evaluation_data(run, folder, manifest)
    check_teaching([data.spec for data in tasks])

    from fusion_pipeline.stages.distilling import distill

    distill(run, spec, folder, manifest, tasks)
