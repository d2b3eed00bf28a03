"""What the runs of a comparison left, read back from their folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.weights import mean_of_runs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One contender on one target with one seed.

    `stage1_seed`: of the source adapters below it, None where there are none or they are of several seeds.
    `train_size`: how many training examples it had, None for all. `config_hash`: sha256[:12] of the config.
    """

    contender: str
    task: TaskSpec
    seed: int
    folder: Path
    stage1_seed: int | None = None
    train_size: int | None = None
    learning_rate: float | None = None
    config_hash: str = ""

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Its metrics.json."""
        found: dict[str, Any] = _read_json(self.folder / "metrics.json")
        return found

    @cached_property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return Manifest.read(self.folder)

    @cached_property
    def predictions(self) -> list[dict[str, Any]]:
        """What it said of the target's test examples, in their order."""
        path = self.folder / "predictions.jsonl"
        rows = [json.loads(line) for line in _read(path).splitlines()]
        own = sorted((row for row in rows if row["task"] == self.task.name), key=lambda row: row["id"])
        if not own:
            raise PipelineError(f"there are no predictions for {self.task.name}", where=str(path))
        return own

    @cached_property
    def examples(self) -> list[tuple[int, Any]]:
        """(id, what is right) of each test example: runs with the same can be compared example by example."""
        return [(row["id"], row["label"]) for row in self.predictions]

    @property
    def tasks(self) -> list[str]:
        """The tasks it was trained on."""
        return [str(entry["task"]) for entry in self.manifest.data]

    @property
    def stored(self) -> int:
        """Parameters in the artefact's own files."""
        known = self.metrics["parameters"].get("stored")
        return int(known) if known is not None else store.parameter_count(self.folder)

    def score(self, split: str) -> float:
        """The target's primary metric."""
        return self.metric_in(self.metrics[split])

    def metric_in(self, metrics: dict[str, float]) -> float:
        """The target's primary metric among metrics of one task or, with the task's name before it, of several."""
        name = self.task.metric
        found = metrics.get(f"{self.task.name}/{name}", metrics.get(name))
        if found is None:
            raise PipelineError(
                f"there is no {name} of {self.task.name}", where=str(self.folder / "metrics.json")
            )
        return float(found)


def groups_of(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, int | None], list[Outcome]]:
    """{(target, contender, training examples): its outcomes by seed}.

    By target, then all training data before fewer and fewer, then contender; targets and contenders in the order
    they come.
    """
    targets = list(dict.fromkeys(outcome.task.name for outcome in outcomes))
    contenders = list(dict.fromkeys(outcome.contender for outcome in outcomes))

    def place(outcome: Outcome) -> tuple[int, float, int]:
        size = float("-inf") if outcome.train_size is None else -outcome.train_size
        return targets.index(outcome.task.name), size, contenders.index(outcome.contender)

    found: dict[tuple[str, str, int | None], list[Outcome]] = {}
    for outcome in sorted(outcomes, key=place):
        found.setdefault((outcome.task.name, outcome.contender, outcome.train_size), []).append(outcome)
    return {
        key: sorted(group, key=lambda o: (o.seed, -1 if o.stage1_seed is None else o.stage1_seed))
        for key, group in found.items()
    }


def fusion_weights(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """{"target, contender": {site: …}}: what each fusion listened to on validation, averaged over seeds.

    Contenders stay apart: the weights of one mechanism sum to 1, those of another scale each adapter by itself.
    """
    found: dict[str, Any] = {}
    for target, contender in dict.fromkeys((o.task.name, o.contender) for o in outcomes):
        paths = [
            o.folder / "fusion_weights.json"
            for o in outcomes
            if (o.task.name, o.contender) == (target, contender)
        ]
        runs = [_weights(path) for path in paths if path.is_file()]
        if runs:
            found[f"{target}, {contender}"] = mean_of_runs(runs)[target]
    return found


def _weights(path: Path) -> dict[str, Any]:
    """A fusion's weights by source task: its adapters are called otherwise for every stage-1 seed."""
    content: dict[str, Any] = _read_json(path)["validation"]
    for sites in content.values():
        for site in sites.values():
            tasks = {name: _task_of(path.parent, name) for name in site["weights"]}
            if len(set(tasks.values())) == len(tasks):
                site["weights"] = {tasks[name]: weight for name, weight in site["weights"].items()}
    return content


def _task_of(fusion: Path, adapter: str) -> str:
    beside = fusion.parent.parent / "adapters" / adapter
    if not (beside / store.MANIFEST).is_file():
        return adapter
    task = Manifest.read(beside).config.get("task")
    return task if isinstance(task, str) else adapter


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PipelineError(
            "a finished run lacks a file that its report needs",
            where=str(path),
            hint="make the artefact again: overwrite=true",
        ) from error


def _read_json(path: Path) -> Any:
    return json.loads(_read(path))
