"""Own adapter against fusion on every target and seed: runs what is missing, then reports."""

from __future__ import annotations

from fusion_pipeline.run import Run


def run(run: Run) -> None:
    """Trains the sources once and every contender with every seed; what is there already is used."""
    run.required("adapters", example="adapters=[snli,mnli], tasks to train source adapters for")
    run.required("target", example="target=[rte,mrpc]")

    from fusion_pipeline.compare.spec import CompareSpec
    from fusion_pipeline.specs import check_tasks, plain_spec, read_specs

    check_tasks(run, "adapters", "target")
    spec: CompareSpec = plain_spec(CompareSpec, run, "compare")
    specs = read_specs(run)

    from fusion_pipeline.compare.running import compare

    compare(run, spec, specs)
