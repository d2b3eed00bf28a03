"""Blends adapters into one in weight space, or says which adapters there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import build_from
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.merging.plan import Plan


def run(run: Run) -> None:
    """Lists the adapters below `list=`, or merges `adapters=` by `method=` into `output=`."""
    if run.value("list") is not None:
        from fusion_pipeline.merging.listing import show

        show(run, Path(str(run.value("list"))).expanduser())
        return
    run.required("adapters", example="adapters=[a,b] method=linear")
    method = build_from(run.section("merge"), group="merge")
    if run.value("format") is not None:
        from fusion_pipeline.merging.formats import check_format

        check_format(run.value("format"))

    from fusion_pipeline.merging.opening import open_sources

    sources = open_sources(run.names("adapters"), run.output_root / "adapters")
    if run.flag("search"):
        from fusion_pipeline.merging.searching import search

        search(run, sources, method)
    elif run.value("trials") is not None:
        from fusion_pipeline.merging.trials import compare_trials

        compare_trials(run, sources, method)
    else:
        merge(run, plan_of(run, sources, method))


def plan_of(run: Run, sources: Any, method: Any) -> Plan:
    """The checked plan of a run over opened adapters."""
    from fusion_pipeline.merging.plan import Plan

    return Plan(
        sources=sources,
        method=method,
        weights=_list(run.value("weights"), "weights"),
        layer_weights=_mapping(run.value("layer_weights"), "layer_weights"),
        rank=_whole(run.value("rank"), "rank"),
        dtype=run.value("dtype"),
        seed=run.seed,
        same_base=run.flag("same_base"),
    )


def merge(run: Run, plan: Plan) -> None:
    """Writes the merge, unless this very one is there."""
    from fusion_pipeline.merging.output import check_output, is_written, write_merge
    from fusion_pipeline.merging.quality_report import check_report, judged, report

    writing = writing_of(run, plan)
    names = ", ".join(source.name for source in plan.sources)
    run.console.print(
        f"merge: {names} by {plan.method.kind} into {writing.of(plan)}", soft_wrap=True, markup=False
    )
    if not run.overwrite and is_written(plan, writing):
        said = "is there already, from these very adapters; overwrite=true makes it and its report again"
        run.console.print(f"{writing.output} {said}", soft_wrap=True)
        return
    reporting = run.flag("report")
    data = check_report(run) if reporting else None
    if run.dry_run:
        check_output(plan, writing)
        run.console.print(f"plan: {len(plan.modules)} modules into {writing.output}", soft_wrap=True)
        run.console.print("dry run: everything was checked, nothing was merged or written")
        return
    if run.is_main_process:
        check_output(plan, writing)
        standings = None if data is None else judged(run, plan, data)
        record = write_merge(plan, writing)
        _report(run, writing.output, record)
        if reporting:
            report(run, plan, writing, record, standings)


def writing_of(run: Run, plan: Plan) -> Writing:
    """Where and how the run writes."""
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.workflow import command_line

    form = run.value("format") or plan.sources[0].format
    name = run.artefact_name(_name(plan))
    folder = "adapters" if form == "native" else "merged"
    output = run.value("output")
    foreign = form == "native" and all(source.format != "native" for source in plan.sources)
    return Writing(
        output=run.output_root / folder / name if output is None else Path(str(output)).expanduser(),
        form=form,
        overwrite=run.overwrite,
        head_from=run.value("head_from"),
        backbone=_backbone(run) if foreign else None,
        command=command_line(),
    )


def _name(plan: Plan) -> str:
    from fusion_pipeline.store import safe_name

    return safe_name("+".join(Path(s.name).name for s in plan.sources) + f"-{plan.method.kind}")


def _backbone(run: Run) -> dict[str, Any]:
    """What a manifest says of the backbone on the command line, which is loaded for its fingerprint and widths."""
    from fusion_pipeline.backbone.loading import load_backbone
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.specs import read_backbone

    config = {key: value for key, value in run.section("backbone").items() if key != "_target_"}
    model = AdaptedModel(load_backbone(read_backbone(run)))
    widths = {row: model.site_widths(row) for row in model.table.linears}
    return {"backbone": model.info.describe(), "config": config, "widths": widths}


def _report(run: Run, output: Path, record: dict[str, Any]) -> None:
    lost = record["discarded_energy"]
    ranks = {module["rank"] for module in record["modules"].values()}
    run.console.print(
        f"  {len(record['modules'])} modules, rank {', '.join(map(str, sorted(ranks)))}, discarded energy {lost:.3%}"
    )
    for note in record["notes"]:
        run.console.print(f"  note: {note}", soft_wrap=True, markup=False)
    run.console.print(f"saved: {output}", soft_wrap=True, markup=False)


def _list(value: Any, key: str) -> list[Any] | None:
    if value is not None and not isinstance(value, list):
        raise PipelineError(f"{value!r} is not a list of weights", where=key, hint=f"{key}=[0.7,0.3]")
    return value


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise PipelineError(f"{value!r} is not a mapping", where=key, hint=f"{key}={{0-3:[1,0]}}")
    return {str(name): rule for name, rule in (value or {}).items()}


def _whole(value: Any, key: str) -> int | None:
    if value is not None and type(value) is not int:
        raise PipelineError(f"{value!r} is no whole number", where=key, hint=f"{key}=16")
    return value
