"""`stage=compare from_runs=FOLDER`: the report of whatever finished runs lie below a folder; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.compare.finished import find_outcomes
from fusion_pipeline.compare.reporting import write_report
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run
from fusion_pipeline.store import check_name


def report_runs(run: Run) -> None:
    """Groups the runs by target, contender and seed, as their manifests tell, and writes their report."""
    roots = [Path(value).expanduser() for value in run.names("from_runs")]
    for root in roots:
        if not root.is_dir():
            raise PipelineError("there is no such folder", where=f"from_runs={root}")
    outcomes, notes = find_outcomes(roots)
    compared, alone = _comparable(outcomes)
    if not compared:
        raise PipelineError(
            "there are no two contenders here for any target",
            where=f"from_runs={', '.join(map(str, roots))}",
            hint="runs of stage=adapters, baseline or fusion, for the same task and data",
        )
    if alone:
        notes.append(f"With nothing to compare with, and left out: {', '.join(alone)}.")
    _say(run, compared)
    if run.dry_run:
        run.console.print("dry run: nothing was written")
        return
    if run.is_main_process:
        name = run.artefact_name(check_name(store.safe_name(roots[0].resolve().name), where="name"))
        latency = bool(run.section("compare").get("latency", True))
        folder = run.output_root / "compare" / name
        write_report(run, compared, folder, notes=notes, latency=latency)


def _comparable(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[str]]:
    """Those whose target has two contenders or more; the names of the other targets."""
    contenders: dict[str, set[str]] = {}
    for outcome in outcomes:
        contenders.setdefault(outcome.task.name, set()).add(outcome.contender)
    compared = [outcome for outcome in outcomes if len(contenders[outcome.task.name]) > 1]
    return compared, sorted(name for name, found in contenders.items() if len(found) < 2)


def _say(run: Run, outcomes: Sequence[Outcome]) -> None:
    counts: dict[tuple[str, str], int] = {}
    for outcome in outcomes:
        key = (outcome.task.name, outcome.contender)
        counts[key] = counts.get(key, 0) + 1
    for (target, contender), number in counts.items():
        run.console.print(f"  {target}: {contender}, {number} runs", soft_wrap=True, markup=False)
