"""Stage 1: one adapter per task on the frozen backbone."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains an adapter for each task named; artefacts that are there already are left as they are."""
    run.required("task", example="task=sentiment, or task=reviews.csv")
    values = run.names("task")
    if len(values) > 1 and run.value("name") is not None:
        raise PipelineError("one name= cannot serve several tasks", where="name", hint="leave name= out")

    from fusion_pipeline.specs import check_tasks, read_specs

    together = run.value("together") or False
    if not isinstance(together, bool):
        raise PipelineError(f"{together!r} is not true or false", where="together")
    check_tasks(run, "task")
    specs = read_specs(run)

    from fusion_pipeline.stages.adapter_training import train_adapter
    from fusion_pipeline.stages.adapters_together import train_together
    from fusion_pipeline.tasks.data import load_tasks

    # All data is read and checked before the first adapter trains.
    loaded = load_tasks(values, data=specs.data, columns=specs.columns)
    if together:
        train_together(run, specs, loaded)
        return
    for data in loaded:
        train_adapter(run, specs, data)
