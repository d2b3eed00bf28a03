"""Stage 2: a fusion over frozen adapters, for one target task or several at once."""

from __future__ import annotations

from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains the fusion and its heads; checks the adapters' folders before anything is loaded."""
    run.required("adapters", example="adapters=[sentiment,nli], names below <output_root>/adapters or paths")
    run.required("target", example="target=review_check, or target=[sentiment,nli]")

    from fusion_pipeline.parents import find_parents
    from fusion_pipeline.specs import check_tasks, read_specs

    check_tasks(run, "target")
    fresh = run.section("unfreeze").get("fresh") is True
    parents = {} if fresh else find_parents(run)
    specs = read_specs(run)

    from fusion_pipeline.stages.fusion_training import train_fusion
    from fusion_pipeline.tasks.data import load_tasks

    tasks = load_tasks(run.names("target"), data=specs.data, columns=specs.columns)
    train_fusion(run, specs, parents, tasks)
