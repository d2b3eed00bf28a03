"""Contenders on every target and seed: runs what is missing, then reports."""

from __future__ import annotations

import os

from fusion_pipeline.registry import ConfigError
from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains sources and contenders with every seed; what is there already is used."""
    if run.value("from_runs") is not None:
        from fusion_pipeline.compare.from_runs import report_runs

        report_runs(run)
        return
    run.required("target", example="target=[rte,mrpc]")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        hint = "without torchrun; compare.parallel=N runs N jobs at a time"
        raise ConfigError("a comparison starts its runs itself", where="stage=compare", hint=hint)

    from fusion_pipeline.compare.contenders import NOTHING, find_contenders
    from fusion_pipeline.compare.spec import CompareSpec
    from fusion_pipeline.specs import check_tasks

    check_tasks(run, "adapters", "target")
    spec = CompareSpec.from_run(run)
    contenders = find_contenders(run, spec)
    if any(contender.sources != NOTHING for contender in contenders):
        run.required("adapters", example="adapters=[snli,mnli], tasks to train source adapters for")

    from fusion_pipeline.compare.starting import compare

    compare(run, spec, contenders)
