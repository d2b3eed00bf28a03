"""Stage 1: adapters on the frozen backbone, one for each task or one for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains an adapter for each task named; artefacts that are there already are left as they are.

    `together=true` trains them side by side; `shared=true` trains one adapter for all tasks, with a head for each.
    """
    run.required("task", example="task=sentiment, or task=reviews.csv")
    values = run.names("task")
    together, shared = _ways(run, values)

    from fusion_pipeline.specs import check_tasks, read_specs

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
    for tasks in [loaded] if shared else [[data] for data in loaded]:
        train_adapter(run, specs, *tasks)


def _ways(run: Run, values: Sequence[str]) -> tuple[bool, bool]:
    """`together` and `shared`; refuses what does not go with each other or with these tasks."""
    together, shared = (run.flag(name) for name in ("together", "shared"))
    if together and shared:
        raise PipelineError(
            "together=true trains one adapter for each task, shared=true one for all of them",
            where="shared",
            hint="one of the two",
        )
    if shared and len(values) == 1:
        raise PipelineError(
            "shared=true is for several tasks, and one is named", where="shared", hint="task=[snli,mnli]"
        )
    if len(values) > 1 and not shared and run.value("name") is not None:
        raise PipelineError(
            "one name= cannot serve several adapters",
            where="name",
            hint="leave name= out, or train one adapter for all tasks: shared=true",
        )
    return together, shared
