"""A batch of merges of the same adapters, compared on a task in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.trial_grammar import GROUP, Trial, read_trials
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.merging.contest import Standing
    from fusion_pipeline.merging.judging import Judge
    from fusion_pipeline.merging.optimising import Tried
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.merging.source import Source

BEST = "best"


def compare_trials(run: Run, sources: Sequence[Source], method: Any) -> None:
    """Judges every trial of `trials=` on `task=`; `output=` gets the table, and the best merge in `best/`.

    Every trial is read and its merge checked before the first is judged. The best is chosen on validation.
    """
    trials = read_trials(run.names("trials"), len(sources))
    plans = [plan_of_trial(run, trial, sources, method) for trial in trials]

    from fusion_pipeline.merging.judge_of_run import judge_of, load_judged_task
    from fusion_pipeline.merging.output import check_output

    data = load_judged_task(run)
    writings = [_writing(run, plan) for plan in plans]
    for plan, writing in zip(plans, writings, strict=True):
        check_output(plan, replace(writing, head_from="none"))
    judge = judge_of(run, sources, data)
    run.console.print(
        f"trials: {', '.join(trial.text for trial in trials)} on {data.spec.name}, head: {judge.rule} | "
        f"backbone: {judge.model.info.name}",
        soft_wrap=True,
        markup=False,
    )
    if run.dry_run:
        run.console.print("dry run: everything was checked, nothing was merged or written")
        return
    _judge_all(run, judge, trials, plans, writings)


def plan_of_trial(run: Run, trial: Trial, sources: Sequence[Source], method: Any) -> Plan:
    """The checked plan of a trial; `rank=`, `dtype=` and `seed=` are the run's."""
    from fusion_pipeline.stages.merge import plan_of

    chosen = method if trial.method is None else registry.build(GROUP, trial.method, **trial.options)
    try:
        weightless = replace(run, config=run.config | {"weights": None, "layer_weights": None})
        plan = plan_of(weightless, [sources[place] for place in trial.which], chosen)
        return plan if trial.weights is None else replace(plan, weights=list(trial.weights))
    except PipelineError as error:
        raise PipelineError(f"trial '{trial.text}': {error.what}", where="trials", hint=error.hint) from error


def _writing(run: Run, plan: Plan) -> Writing:
    from fusion_pipeline.stages.merge import writing_of

    given = run.value("output")
    folder = run.output_root / "trials" / run.artefact_name("trials") if given is None else given
    return replace(writing_of(run, plan), output=Path(str(folder)).expanduser() / BEST)


def _judge_all(
    run: Run, judge: Judge, trials: Sequence[Trial], plans: Sequence[Plan], writings: Sequence[Writing]
) -> None:
    from fusion_pipeline.merging.contest import show, standings
    from fusion_pipeline.merging.optimising import tried
    from fusion_pipeline.merging.searching import inputs

    singles = inputs(judge, "metric")
    found = [
        tried(judge, lambda plan=plan: judge.merge(plan, ["validation"]), "metric", trial.text)  # type: ignore[misc]
        for trial, plan in zip(trials, plans, strict=True)
    ]
    best = min(range(len(found)), key=lambda i: found[i].value)
    table = standings(judge, singles, found)
    if run.is_main_process:
        _write(run, judge, found, best, writings[best], table)
        show(run.console, f"{judge.data.spec.name}: trials", table, judge.data.spec.metric)
        run.console.print(f"best on validation: {trials[best].text}", markup=False)
        run.console.print(f"saved: {writings[best].output.parent}", soft_wrap=True, markup=False)


def _write(
    run: Run, judge: Judge, found: Sequence[Tried], best: int, writing: Writing, table: Sequence[Standing]
) -> None:
    from fusion_pipeline.merging.contest import markdown, put
    from fusion_pipeline.merging.headed import write_headed
    from fusion_pipeline.merging.quality_report import report
    from fusion_pipeline.workflow import command_line, describe_data

    metric, folder = judge.data.spec.metric, writing.output.parent
    record = write_headed(run, found[best].judged, judge, writing)
    if run.value("report"):
        report(run, found[best].plan, writing, record, table)
    content = {
        "task": judge.data.spec.name,
        "metric": metric,
        "head": judge.rule,
        "seed": run.seed,
        "adapters": [source.name for source in judge.sources],
        "best": found[best].origin,
        "standings": [one.to_json() for one in table],
        "trials": [one.to_json() for one in found],
        "data": describe_data(judge.data),
        "command": command_line(),
    }
    put(folder, "trials.json", content)
    said = f"The best on validation, {found[best].origin}, lies in `{BEST}/`. Head: {judge.rule}."
    lines = [f"# Trials on {judge.data.spec.name}", "", *markdown(table, metric), "", said, ""]
    put(folder, "trials.md", "\n".join([*lines, "Made with:", "", "```", command_line(), "```", ""]))
