"""Curves of a comparison: how contenders learn, how they do with fewer examples, what training did to other tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusion_pipeline.compare.comparing import Comparison
from fusion_pipeline.compare.results import Outcome, groups_of
from fusion_pipeline.compare.statistics import mean_sd
from fusion_pipeline.compare.summary import Row


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of a plot: x, the mean of y over runs, and its standard deviation."""

    target: str
    contender: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """An old target's validation metric before and after its fusion went on to something new."""

    artefact: str
    contender: str
    task: str
    seed: int
    before: float
    after: float


def learning_curves(outcomes: Sequence[Outcome]) -> list[Curve]:
    """The validation metric after each evaluation, by step, of the runs that have a history.

    Runs of one contender may have stopped early: a point is the mean over those that came as far.
    """
    found = []
    for (target, contender, size), group in groups_of(outcomes).items():
        if size is not None:
            continue
        values: dict[int, list[float]] = {}
        for outcome in group:
            for entry in outcome.metrics.get("history", ()):
                values.setdefault(entry["step"], []).append(outcome.metric_in(entry["validation"]))
        if len(values) > 1:
            found.append(_curve(target, contender, values))
    return found


def few_example_curves(outcomes: Sequence[Outcome]) -> list[Curve]:
    """The test metric over the number of training examples, where there is more than one number."""
    values: dict[tuple[str, str], dict[int, list[float]]] = {}
    for outcome in outcomes:
        sizes = values.setdefault((outcome.task.name, outcome.contender), {})
        sizes.setdefault(_train_examples(outcome), []).append(outcome.score("test"))
    return [
        _curve(target, contender, sizes) for (target, contender), sizes in values.items() if len(sizes) > 1
    ]


def few_example_comparisons(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    """{(target, contender): its comparisons by number of training examples, all last}, where there are several."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for one in comparisons:
        found.setdefault((one.target, one.contender), []).append(one)
    ordered = {
        key: sorted(curve, key=lambda c: float("inf") if c.train_size is None else c.train_size)
        for key, curve in found.items()
    }
    return {key: curve for key, curve in ordered.items() if any(c.train_size for c in curve)}


def joint(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of contenders that were trained on several tasks at once: what joint training did to each."""
    several = {(row.target, row.contender, row.train_size) for row in rows if len(row.tasks) > 1}
    return [c for c in comparisons if (c.target, c.contender, c.train_size) in several]


def forgotten(outcomes: Sequence[Outcome]) -> list[Forgotten]:
    """What fusions that went on from former ones recorded of their old targets."""
    found = {}
    for outcome in outcomes:
        told: dict[str, Any] = outcome.metrics.get("old_targets", {})
        for task, values in told.items():
            found[outcome.folder, task] = Forgotten(
                artefact=outcome.folder.name,
                contender=outcome.contender,
                task=task,
                seed=outcome.seed,
                **values,
            )
    return list(found.values())


def _train_examples(outcome: Outcome) -> int:
    entry = next((e for e in outcome.manifest.data if e["task"] == outcome.task.name), None)
    return outcome.train_size or int(
        entry["sizes"]["train"] if entry else outcome.metrics["examples"]["train"]
    )


def _curve(target: str, contender: str, values: dict[int, list[float]]) -> Curve:
    steps = sorted(values)
    told = [mean_sd(values[step]) for step in steps]
    return Curve(
        target=target,
        contender=contender,
        x=tuple(steps),
        mean=tuple(mean for mean, _ in told),
        deviation=tuple(deviation for _, deviation in told),
    )
