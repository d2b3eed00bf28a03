"""What the runs of a comparison left, read back from their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline.compare.statistics import Difference, mcnemar, mean_sd, paired
from fusion_pipeline.store import MANIFEST, Manifest
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.weights import mean_of_runs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One contender on one target with one seed.

    `train_size`: how many rows of train it learned from, None for all. `config_hash`: of its manifest's config.
    """

    contender: str
    task: TaskSpec
    seed: int
    stage1_seed: int | None = None
    train_size: int | None = None
    folder: Path
    learning_rate: float | None = None
    config_hash: str = ""

    @property
    def metrics(self) -> dict[str, Any]:
        """Its metrics.json."""
        found: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        return found

    def score(self, split: str) -> float:
        """The target's primary metric."""
        return float(self.metrics[split][self.task.metric])

    def right(self) -> list[bool]:
        """Which test examples it got right (classification)."""
        lines = (self.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        return [row["label"] == row["prediction"] for row in map(json.loads, lines)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a contender on a target over all seeds."""

    target: str
    metric: str
    contender: str
    seeds: int
    validation: tuple[float, float]
    test: tuple[float, float]
    trainable: int
    seconds: float
    difference: Difference | None = None
    discordant: tuple[int, int, float] | None = None


def summarise(outcomes: Sequence[Outcome], reference: str = "single") -> list[Row]:
    """A row for every target and contender, in order; differences are against `reference`, paired by seed."""
    keys = dict.fromkeys((outcome.task.name, outcome.contender) for outcome in outcomes)
    groups = {
        key: sorted((o for o in outcomes if (o.task.name, o.contender) == key), key=lambda o: o.seed)
        for key in keys
    }
    return [_row(group, groups.get((target, reference))) for (target, _), group in groups.items()]


def fusion_weights(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """{target: {site: …}}: what the fusions listened to on validation, averaged over seeds."""
    found: dict[str, Any] = {}
    for target in dict.fromkeys(outcome.task.name for outcome in outcomes):
        paths = [o.folder / "fusion_weights.json" for o in outcomes if o.task.name == target]
        runs = [_weights(path) for path in paths if path.is_file()]
        found |= mean_of_runs(runs) if runs else {}
    return found


def _weights(path: Path) -> dict[str, Any]:
    """A fusion's weights by source task: its adapters are called otherwise for every stage-1 seed."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["validation"]
    for sites in content.values():
        for site in sites.values():
            site["weights"] = {_task_of(path.parent, name): w for name, w in site["weights"].items()}
    return content


def _task_of(fusion: Path, adapter: str) -> str:
    beside = fusion.parent.parent / "adapters" / adapter
    known = (beside / MANIFEST).is_file()
    return str(Manifest.read(beside).config.get("task", adapter)) if known else adapter


def _row(group: Sequence[Outcome], reference: Sequence[Outcome] | None) -> Row:
    first, metrics = group[0], [outcome.metrics for outcome in group]
    compared = reference is not None and first.contender != reference[0].contender
    return Row(
        target=first.task.name,
        metric=first.task.metric,
        contender=first.contender,
        seeds=len(group),
        validation=mean_sd([outcome.score("validation") for outcome in group]),
        test=mean_sd([outcome.score("test") for outcome in group]),
        trainable=metrics[0]["parameters"]["trainable"],
        seconds=mean_sd([m["seconds"] for m in metrics])[0],
        difference=_difference(reference, group) if compared and reference else None,
        discordant=_discordant(reference, group) if compared and reference else None,
    )


def _difference(a: Sequence[Outcome], b: Sequence[Outcome]) -> Difference | None:
    return paired([o.score("test") for o in a], [o.score("test") for o in b])


def _discordant(a: Sequence[Outcome], b: Sequence[Outcome]) -> tuple[int, int, float] | None:
    """McNemar on each example's majority over seeds: one verdict an example, so that none counts twice."""
    if a[0].task.labels is None:
        return None
    return mcnemar(_majority(a), _majority(b))


def _majority(group: Sequence[Outcome]) -> list[bool]:
    votes = [outcome.right() for outcome in group]
    return [sum(column) * 2 > len(column) for column in zip(*votes, strict=True)]
