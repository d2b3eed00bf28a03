"""From a checked comparison to its plan: reads all data, checks every config, then shows the plan or runs it."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_pipeline.compare.board import Board
from fusion_pipeline.compare.checking import check_runs, rehearse
from fusion_pipeline.compare.contenders import Contender, check_sections
from fusion_pipeline.compare.forecast import show_forecast
from fusion_pipeline.compare.jobs import Workshop
from fusion_pipeline.compare.plan import left_out, plan, sizes
from fusion_pipeline.compare.running import Comparison
from fusion_pipeline.compare.spec import CompareSpec
from fusion_pipeline.run import Run
from fusion_pipeline.specs import read_columns, read_data
from fusion_pipeline.store.names import safe_name
from fusion_pipeline.tasks.data import TaskData, load_tasks


def compare(run: Run, spec: CompareSpec, contenders: Sequence[Contender]) -> None:
    """All data and configs are checked first; then sources, contenders, report."""
    check_sections(run, spec.sources, "compare.sources")
    sources, targets = (_load(run, key) for key in ("adapters", "target"))
    names = [data.spec.name for data in targets]
    rows = {data.spec.name: data.sizes["train"] for data in targets}
    planned = plan(spec, contenders, targets=names, sources=[data.spec.name for data in sources], rows=rows)
    workshop = Workshop(
        run=run,
        spec=spec,
        contenders={contender.name: contender for contender in contenders},
        values=_values(run, sources, targets),
        name=run.artefact_name(safe_name("+".join(names))),
    )
    check_runs(workshop, planned)
    without = left_out(contenders, names, [data.spec.name for data in sources])
    _say(run, spec, rows, without)
    comparison = Comparison(
        workshop=workshop,
        board=Board.of(planned, {data.spec.name: data.spec for data in (*sources, *targets)}),
        folder=run.output_root / "compare" / workshop.name,
        left_out=without,
    )
    rehearse(workshop, show_forecast(run, comparison))
    if run.dry_run:
        run.console.print("dry run: everything was checked, nothing was trained or written")
        return
    comparison.execute()
    comparison.report()


def _load(run: Run, key: str) -> list[TaskData]:
    return load_tasks(run.names(key), data=read_data(run), columns=read_columns(run))


def _values(run: Run, sources: Sequence[TaskData], targets: Sequence[TaskData]) -> dict[str, str]:
    """Task name → what the command line calls it."""
    pairs = [
        *zip(sources, run.names("adapters"), strict=True),
        *zip(targets, run.names("target"), strict=True),
    ]
    return {data.spec.name: value for data, value in pairs}


def _say(run: Run, spec: CompareSpec, rows: dict[str, int], without: Sequence[str]) -> None:
    for target in without:
        run.console.print(f"note: {target} is a target, too: its own adapter is not among its sources")
    for target, count in rows.items():
        missing = [size for size in spec.train_sizes if size not in sizes(spec, target, rows)]
        if missing:
            listed = ", ".join(map(str, missing))
            run.console.print(f"note: {target} has {count:,} rows of train: no runs with {listed}")
