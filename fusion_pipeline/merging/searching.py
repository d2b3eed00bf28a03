"""Weights of a merge found on a validation task; test is read once, when they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.search_spec import SearchSpec, require_cma
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.merging.contest import Standing
    from fusion_pipeline.merging.judging import Judge
    from fusion_pipeline.merging.optimising import Tried
    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.merging.source import Source

START, AVERAGE, FOUND = "equal weights", "plain average", "searched"


def search(run: Run, sources: Sequence[Source], method: Any) -> None:
    """Searches the weights of `method` for `task=` and writes the best merge with the trace of the search."""
    require_cma()
    spec = read_search(run)
    for key in ("weights", "layer_weights"):
        if run.value(key) is not None:
            raise PipelineError(
                f"{key}= and search=true both say the weights", where=key, hint="leave one out"
            )
    if len(sources) < 2:
        raise PipelineError("there is nothing to weigh: one adapter", where="adapters", hint="adapters=[a,b]")

    from fusion_pipeline.merging.judge_of_run import judge_of, load_judged_task
    from fusion_pipeline.merging.output import check_output
    from fusion_pipeline.stages.merge import plan_of, writing_of

    start = plan_of(run, sources, method)
    spec.patterns(start)
    data = load_judged_task(run)
    writing = writing_of(run, start)
    check_output(start, replace(writing, head_from="none"))
    judge = judge_of(run, sources, data)
    _announce(run, judge, start, spec)
    if run.dry_run:
        run.console.print("dry run: everything was checked, nothing was merged or written")
        return
    singles, others = _run(run, judge, start, spec)
    _conclude(run, judge, spec, singles, others, writing)


def read_search(run: Run) -> SearchSpec:
    """The checked `searching` section."""
    from fusion_pipeline.specs import plain_spec

    spec: SearchSpec = plain_spec(SearchSpec, run, "searching")
    return spec


def _announce(run: Run, judge: Judge, start: Plan, spec: SearchSpec) -> None:
    names = ", ".join(source.name for source in start.sources)
    run.console.print(
        f"search: {names} by {start.method.kind} on {judge.data.spec.name} (validation), {spec.budget} merges, "
        f"head: {judge.rule} | backbone: {judge.model.info.name}",
        soft_wrap=True,
        markup=False,
    )


def inputs(judge: Judge, objective: str) -> list[Tried]:
    """Every input alone."""
    from fusion_pipeline.merging.optimising import tried

    return [
        tried(judge, lambda i=i: judge.single(i, ["validation"]), objective, source.name)  # type: ignore[misc]
        for i, source in enumerate(judge.sources)
    ]


def _run(run: Run, judge: Judge, start: Plan, spec: SearchSpec) -> tuple[list[Tried], list[Tried]]:
    """The inputs alone; then the average, equal weights of the method, and every candidate of the search."""
    from fusion_pipeline.merging.methods.linear import Linear
    from fusion_pipeline.merging.optimising import optimise, tried

    def judged(plan: Plan, origin: str = FOUND) -> Tried:
        found = tried(judge, lambda: judge.merge(plan, ["validation"]), spec.objective, origin)
        if origin == FOUND:
            said = f"{judge.data.spec.metric} {found.validation[judge.data.spec.metric]:.4f}"
            run.console.print(
                f"  {said}, loss {found.validation['loss']:.4f}: {shares(plan)}", soft_wrap=True
            )
        return found

    singles = inputs(judge, spec.objective)
    others = [judged(replace(start, method=Linear()), AVERAGE)]
    if start.method != Linear():
        others.append(judged(start, START))
    return singles, [*others, *optimise(start, spec, judged, seed=run.seed)]


def shares(plan: Plan) -> str:
    """A plan's weights as text."""
    rules = plan.layer_weights or {"": plan.weights or [1.0] * len(plan.sources)}
    return "; ".join(
        f"{key + ' ' if key else ''}{', '.join(f'{w:.3f}' for w in rule)}" for key, rule in rules.items()
    )


def _conclude(
    run: Run, judge: Judge, spec: SearchSpec, singles: list[Tried], others: list[Tried], writing: Any
) -> None:
    from fusion_pipeline.merging.contest import put, show, standings
    from fusion_pipeline.merging.headed import write_headed
    from fusion_pipeline.merging.quality_report import report
    from fusion_pipeline.merging.search_plot import save_trace

    # Equal weights are in the race: a search never ends below them on validation.
    best = min(others, key=lambda one: one.value)
    kept = [one for one in others if one.origin != FOUND]
    found = standings(judge, singles, [*kept, replace(best, origin=FOUND)])
    if not run.is_main_process:
        return
    written = write_headed(run, best.judged, judge, writing)
    folder: Path = writing.output
    record = _record(run, judge, spec, best, singles, others, found)
    put(folder, "search.json", record)
    put(folder, "search.md", _markdown(record, found, judge.data.spec.metric))
    save_trace(record, folder / "search.png")
    if run.value("report"):
        report(run, best.plan, writing, written, found)
    show(
        run.console, f"{judge.data.spec.name}: weights searched on validation", found, judge.data.spec.metric
    )
    run.console.print(f"weights: {shares(best.plan)}", soft_wrap=True)
    run.console.print(f"saved: {folder}", soft_wrap=True, markup=False)


def _record(
    run: Run,
    judge: Judge,
    spec: SearchSpec,
    best: Tried,
    singles: list[Tried],
    others: list[Tried],
    found: Sequence[Standing],
) -> dict[str, Any]:
    from fusion_pipeline.workflow import command_line, describe_data

    return {
        "task": judge.data.spec.name,
        "metric": judge.data.spec.metric,
        "head": judge.rule,
        "search": asdict(spec),
        "optimiser": "CMA-ES (cma)",
        "seed": run.seed,
        "adapters": [source.name for source in judge.sources],
        "best": best.to_json(),
        "standings": [one.to_json() for one in found],
        "trace": [one.to_json() for one in (*singles, *others)],
        "data": describe_data(judge.data),
        "command": command_line(),
    }


def _markdown(record: dict[str, Any], found: Sequence[Standing], metric: str) -> str:
    from fusion_pipeline.merging.contest import markdown

    weights = record["best"]["layer_weights"] or record["best"]["weights"]
    lines = [
        f"# Weights searched on {record['task']}",
        "",
        f"{len(record['trace'])} candidates judged on validation (seed {record['seed']}, head: {record['head']}); "
        "the best one on validation was kept, and test was read once, after it.",
        "",
        *markdown(found, metric),
        "",
        f"Weights of {', '.join(record['adapters'])}: `{weights}`, by {record['best']['method']}.",
        "",
        "![every candidate](search.png)",
        "",
        "Made with:",
        "",
        "```",
        record["command"],
        "```",
        "",
    ]
    return "\n".join(lines)
