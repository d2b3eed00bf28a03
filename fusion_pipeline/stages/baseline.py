"""What a fusion is measured against: a probe, full fine-tuning, one adapter, joint training, …"""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import build_from, options
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains `baseline=` for each target named; artefacts that are there already are left as they are."""
    run.required("baseline", example=f"baseline=…, one of {', '.join(options('baseline'))}")
    baseline = build_from(run.section("baseline"), group="baseline")
    run.required("target", example="target=review_check")
    if baseline.takes != "nothing":
        run.required(
            "adapters", example="adapters=[sentiment,nli], names below <output_root>/adapters or paths"
        )
    if len(run.names("target")) > 1 and run.value("name") is not None:
        raise PipelineError("one name= cannot serve several targets", where="name", hint="leave name= out")

    from fusion_pipeline.baselines.sources import source_tasks
    from fusion_pipeline.specs import check_tasks, read_data

    targets = run.names("target") if baseline.takes == "tasks" else []
    check_tasks(run, "target", more=[s for t in targets for s in source_tasks(run, read_data(run), t)])

    from fusion_pipeline.baselines.running import run_baseline

    run_baseline(run)
