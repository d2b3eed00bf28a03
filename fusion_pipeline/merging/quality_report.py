"""`fusion_report.md`, `.json` and `.png`: what a merge did, beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fusion_pipeline.merging.contest import markdown, put
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.quality import SAMPLED, ModuleQuality, qualities
from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.run import Run

if TYPE_CHECKING:
    from fusion_pipeline.merging.contest import Standing
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.tasks.data import TaskData

NAME = "fusion_report"


def report(
    run: Run,
    plan: Plan,
    writing: Writing,
    record: Mapping[str, Any],
    standings: Sequence[Standing] | None = None,
) -> None:
    """Writes the three files into the merged adapter's folder.

    Shifts are measured where an adapter is of our format, or the backbone is given; `standings` are the metrics on
    `task=`, where it is given.
    """
    from fusion_pipeline.merging.quality_plot import save_quality

    merged = open_source(str(writing.output.resolve()), writing.output.parent)
    modules = qualities(plan, merged, record, seed=run.seed)
    found = {
        "adapters": [source.name for source in plan.sources],
        "method": record["method"],
        "kind": plan.kind,
        "modules": [asdict(module) for module in modules],
        "layers": layers(modules),
        "discarded_energy": record["discarded_energy"],
        "shift": _shift(run, plan, writing),
        "task": None if standings is None else run.names("task")[0],
        "standings": None if standings is None else [one.to_json() for one in standings],
    }
    put(writing.output, f"{NAME}.json", found)
    put(writing.output, f"{NAME}.md", text(found, standings))
    save_quality(found, writing.output / f"{NAME}.png")
    run.console.print(f"report: {writing.output / (NAME + '.md')}", soft_wrap=True, markup=False)


def judged(run: Run, plan: Plan, data: TaskData) -> list[Standing]:
    """The inputs, the merge and the outputs fused, on a task."""
    from fusion_pipeline.merging.contest import standings
    from fusion_pipeline.merging.judge_of_run import judge_of
    from fusion_pipeline.merging.optimising import tried
    from fusion_pipeline.merging.searching import inputs

    judge = judge_of(run, plan.sources, data)
    merged = tried(judge, lambda: judge.merge(plan, ["validation"]), "metric", "merge")
    return standings(judge, inputs(judge, "metric"), [merged])


def check_report(run: Run) -> TaskData | None:
    """Reads the task and the probe that the report will need, before anything is merged."""
    from fusion_pipeline.merging.judge_of_run import load_judged_task
    from fusion_pipeline.merging.shift import read_probe

    read_probe(run.value("probe"))
    return None if run.value("task") is None else load_judged_task(run)


def layers(modules: Sequence[ModuleQuality]) -> list[dict[str, Any]]:
    """Means over the modules of each layer, modules outside of the layers last."""
    numbers = sorted({m.layer for m in modules}, key=lambda n: (n is None, n or 0))
    return [_layer(number, [m for m in modules if m.layer == number]) for number in numbers]


def _layer(number: int | None, modules: Sequence[ModuleQuality]) -> dict[str, Any]:
    count = len(modules[0].norms)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    means = [_mean([m.cosines[i][j] for m in modules]) for i, j in pairs]
    ranked = [m.effective_ranks for m in modules if m.effective_ranks is not None]
    return {
        "layer": number,
        "cosine": _mean(means) if means else 1.0,
        "cosine_lowest": min(means, default=1.0),
        "conflicts": _mean([m.conflicts for m in modules]),
        "norms": [_mean([m.norms[i] for m in modules]) for i in range(count)],
        "norm": _mean([m.norm for m in modules]),
        "to_merged": [_mean([m.to_merged[i] for m in modules]) for i in range(count)],
        "effective_rank_inputs": _mean([_mean(r[:-1]) for r in ranked]) if ranked else None,
        "effective_rank": _mean([r[-1] for r in ranked]) if ranked else None,
        "discarded": _mean([m.discarded for m in modules]),
    }


def text(found: Mapping[str, Any], standings: Sequence[Standing] | None) -> str:
    """The report as Markdown."""
    what = "parameters" if found["kind"] == PARAMETERS else "updates ΔW"
    lines = ["# What the merge did", "", f"{', '.join(found['adapters'])} by {found['method']['kind']}.", ""]
    if standings is not None:
        metric = next(key for key in standings[0].validation if key != "loss")
        lines += [f"## On {found['task']}", "", *markdown(standings, metric), ""]
    lines += [
        f"## By layer, means over modules, of the adapters' {what}",
        "",
        *_by_layer(found),
        "",
        _legend(found),
    ]
    lines += ["", f"![by layer]({NAME}.png)", "", *_shift_lines(found)]
    lost = found["discarded_energy"]
    return "\n".join([*lines, f"Cutting the rank took {lost:.3%} of the merged energy ‖ΔW‖².", ""])


_COLUMNS = ("layer", "mean cosine", "lowest cosine", "sign conflicts", "norm of inputs", "norm of merge")
_RANKS = ("effective rank of inputs", "of merge", "energy lost")


def _by_layer(found: Mapping[str, Any]) -> list[str]:
    lines = [f"| {' | '.join((*_COLUMNS, *_RANKS))} |", "|" + "---|" * len((*_COLUMNS, *_RANKS))]
    for one in found["layers"]:
        norms = " / ".join(f"{norm:.3g}" for norm in one["norms"])
        cells = [
            "other" if one["layer"] is None else str(one["layer"]),
            f"{one['cosine']:.3f}",
            f"{one['cosine_lowest']:.3f}",
            f"{one['conflicts']:.1%}",
            norms,
            f"{one['norm']:.3g}",
            *("" if one[k] is None else f"{one[k]:.2f}" for k in ("effective_rank_inputs", "effective_rank")),
            f"{one['discarded']:.3%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _legend(found: Mapping[str, Any]) -> str:
    order = ", ".join(found["adapters"])
    return (
        "Cosines and sign conflicts are of pairs of adapters. Sign conflicts: of the elements that both change, the "
        "share in which their weighted signs differ, mean over pairs; over all elements of a module of up to "
        f"{SAMPLED:,}, over as many drawn ones of a larger one. Norms are Frobenius norms, the inputs' in the order "
        f"{order}. Effective rank: exp of the entropy of the singular values' shares."
    )


def _shift_lines(found: Mapping[str, Any]) -> list[str]:
    shift = found["shift"]
    if shift is None:
        return [
            "Shift of outputs: not measured, the backbone is not known here (backbone.path= names it).",
            "",
        ]
    rows = [f"| {n} | {s:.3f} | {shift['to_merged'][n]:.3f} |" for n, s in shift["inputs"].items()]
    return [
        f"## Shift of the backbone's last hidden states on {shift['texts']} probe texts",
        "",
        "| | ‖h − h₀‖ / ‖h₀‖, mean over tokens | cosine with the merge's shift |",
        "|---|---|---|",
        *rows,
        f"| merge | {shift['merged']:.3f} | |",
        "",
    ]


def _shift(run: Run, plan: Plan, writing: Writing) -> dict[str, Any] | None:
    """On the backbone of the first adapter of ours; of other formats where backbone.path= is given."""
    from fusion_pipeline.merging.judge_of_run import bare_model

    native = any(source.format == "native" for source in plan.sources)
    if not native and run.section("backbone").get("path") is None and writing.of(plan) != "native":
        return None

    from fusion_pipeline.merging.shift import read_probe, shifts

    return shifts(bare_model(run, plan.sources), plan, read_probe(run.value("probe")))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
