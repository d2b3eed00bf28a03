"""The table of a comparison: a line for every target and contender, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion_pipeline.compare.comparing import Comparison
from fusion_pipeline.compare.intervals import Difference, combined
from fusion_pipeline.compare.results import Outcome, groups_of
from fusion_pipeline.compare.statistics import mean_sd


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line: a contender on a target over all seeds.

    seeds, stage1_seeds: how many different ones. validation, test: (mean, standard deviation over runs) of the
    metric. trainable, stored: parameters. seconds: mean training time. peak_memory: the most of any run, bytes.
    latency: time to answer a batch, relative to the reference. learning_rates: those of its runs. tasks: what it was
    trained on. runs: the names of its artefacts.
    """

    target: str
    contender: str
    metric: str
    train_size: int | None
    seeds: int
    stage1_seeds: int
    validation: tuple[float, float]
    test: tuple[float, float]
    trainable: int
    stored: int
    seconds: float
    peak_memory: int | None
    latency: float | None
    learning_rates: tuple[float, ...]
    tasks: tuple[str, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A contender's mean over targets, and its difference to the reference over the same targets."""

    contender: str
    targets: int
    test: float
    difference: Difference | None


def summarise(outcomes: Sequence[Outcome], latency: Mapping[str, float]) -> list[Row]:
    """A row for every target, contender and number of training examples, in the order they come."""
    return [_row(group, latency.get(contender)) for (_, contender, _), group in groups_of(outcomes).items()]


def means_over_targets(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[Mean]:
    """The contenders that ran on every target, with all training data; nothing for a single target."""
    full = [row for row in rows if row.train_size is None]
    targets = list(dict.fromkeys(row.target for row in full))
    found = []
    for contender in dict.fromkeys(row.contender for row in full):
        own = [row.test[0] for row in full if row.contender == contender]
        against = [c for c in comparisons if c.contender == contender and c.train_size is None]
        if len(targets) < 2 or len(own) < len(targets):
            continue
        told = combined([c.difference for c in against]) if len(against) == len(targets) else None
        found.append(
            Mean(contender=contender, targets=len(targets), test=sum(own) / len(own), difference=told)
        )
    return found


def _row(group: Sequence[Outcome], latency: float | None) -> Row:
    first, metrics = group[0], [outcome.metrics for outcome in group]
    peaks = [found["peak_memory"] for found in metrics if found.get("peak_memory")]
    rates = {outcome.learning_rate for outcome in group} - {None}
    return Row(
        target=first.task.name,
        contender=first.contender,
        metric=first.task.metric,
        train_size=first.train_size,
        seeds=len({outcome.seed for outcome in group}),
        stage1_seeds=len({outcome.stage1_seed for outcome in group} - {None}),
        validation=mean_sd([outcome.score("validation") for outcome in group]),
        test=mean_sd([outcome.score("test") for outcome in group]),
        trainable=metrics[0]["parameters"]["trainable"],
        stored=first.stored,
        seconds=mean_sd([found["seconds"] for found in metrics])[0],
        peak_memory=max(peaks) if peaks else None,
        latency=latency,
        learning_rates=tuple(sorted(rate for rate in rates if rate is not None)),
        tasks=tuple(first.tasks),
        runs=tuple(outcome.folder.name for outcome in group),
    )
