"""What all training stages share: read data, train, and publish one artefact with everything it leaves."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fusion_pipeline import store
from fusion_pipeline.backbone import Backbone
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import HeadSettings
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.reporting.card import card
from fusion_pipeline.reporting.filing import group_of, tags_of
from fusion_pipeline.reporting.heatmap import save_heatmap
from fusion_pipeline.reporting.table import show_results
from fusion_pipeline.reporting.tracking import Tracker, TrackingSpec, tracking
from fusion_pipeline.routing import check_dropped
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.task_type import RowType, answer_json
from fusion_pipeline.tasks.task_types import REGRESSION
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.blend import Blend
from fusion_pipeline.training.encoding import Encoded, encode_task
from fusion_pipeline.training.fit import Fit, FitSpec, fit
from fusion_pipeline.training.reuse import lower_layers
from fusion_pipeline.training.scoring import TaskOutputs, is_ragged

# The command that a worker process is part of.
COMMAND = "FUSION_PIPELINE_COMMAND"
Writer = Callable[[Path], None]
Fitting = Callable[[FitSpec, dict[str, list[Encoded]]], Fit]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One artefact's training: what is trained for which tasks, and how its weights are written."""

    job: Job
    specs: Specs
    kind: str
    name: str
    tasks: Sequence[TaskData]
    model: AdaptedModel
    write: Writer
    parents: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    adapters_learning_rate: float | None = None
    blend: Blend | None = None
    # Tasks whose heads are kept as they are, with data to score them on.
    kept: Sequence[TaskData] = ()
    # In place of one `fit` of the model: several attempts, or something to train before.
    fitting: Fitting | None = None
    # Nothing below the heads trains.
    reuse_features: bool = False
    # What the artefact is, in words, where its manifest does not say it.
    what: str | None = None
    # Further metrics, taken of the trained model.
    after: Callable[[], dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.specs.trainer.reuse_lower_layers:
            # Refuses what cannot be reused now, and in a dry run too.
            lower_layers(self.model)
        where = "trainer.drop_lowest_layers"
        if self.specs.trainer.drop_lowest_layers and not self.model.active_adapters:
            raise PipelineError("there are no adapters to drop", where=where, hint=f"{where}=0")
        check_dropped(self.specs.trainer.drop_lowest_layers, self.model.layers - 1, where)

    @property
    def run(self) -> Run:
        """The run this belongs to."""
        return self.job.run

    def execute(self) -> dict[str, Any]:
        """Trains, publishes, shows the table; returns the metrics."""
        splits = encode(self.tasks, self.model.info, self.run.output_root)
        show_token_notes(self.run, splits, self.tasks)
        with self.job.writing() as work, self._tracker() as track:
            done = (self.fitting or self._fit)(self.fit_spec(work, track), splits)
            return self._conclude(done, track)

    def _fit(self, spec: FitSpec, splits: dict[str, list[Encoded]]) -> Fit:
        return fit(self.model, [data.spec for data in self.tasks], splits, spec)

    def conclude(self, done: Fit) -> dict[str, Any]:
        """Publishes what was trained elsewhere; the caller holds `job.writing()`. Returns the metrics."""
        with self._tracker() as track:
            return self._conclude(done, track)

    def _tracker(self) -> Any:
        return tracking(
            tracking_spec(self.run),
            root=self.run.output_root,
            name=f"{self.kind}-{self.name}",
            job_type=self.run.stage,
            config=self.job.config | {"lineage": self.lineage()},
            main=self.run.is_main_process,
            group=group_of(self.run, self.job.folder.name),
            tags=tags_of(self.model, [data.spec.name for data in self.tasks], self.run.seed),
        )

    def _conclude(self, done: Fit, track: Tracker) -> dict[str, Any]:
        metrics = self._metrics(done) | (self.after() if self.after is not None else {})
        if self.run.is_main_process:
            self.publish(done, metrics)
            score = primary_score(metrics["validation"], [data.spec for data in self.tasks])
            track.finish(metrics, self.lineage(), self.job.folder, self.kind, score=score)
            self.job.finish()
        return metrics

    def lineage(self) -> dict[str, Any]:
        """Backbone, data and parent adapters of the artefact."""
        return {
            "backbone": self.model.info.describe(),
            "data": [describe_data(data) for data in (*self.tasks, *self.kept)],
            "parents": self.parents,
        }

    def fit_spec(self, work: Path, track: Tracker | None = None) -> FitSpec:
        """How it is trained, with checkpoints in `work`; without a tracker nothing is tracked."""
        return FitSpec(
            trainer=self.specs.trainer,
            mix=self.specs.mix,
            seed=self.run.seed,
            work=work,
            label=f"{self.kind} {self.name}",
            resume=self.run.resume,
            use_wandb=track is not None and track.active,
            adapters_learning_rate=self.adapters_learning_rate,
            publish=None if track is None else track.weights,
            blend=self.blend,
            reuse_features=self.reuse_features,
        )

    def _metrics(self, done: Fit) -> dict[str, Any]:
        metrics: dict[str, Any] = {**done.metrics}
        if done.dropped:
            metrics["layers_dropped"] = done.dropped
        return metrics | {
            "seconds": round(done.seconds, 2),
            "parameters": self.model.parameter_counts(),
            "steps": done.steps,
            "epochs": done.epochs,
            "examples": done.examples,
            "world_size": done.world_size,
            "peak_memory": done.peak_memory,
            "history": done.history,
        }

    def publish(self, done: Fit, metrics: dict[str, Any]) -> None:
        """Writes the artefact with everything it leaves, and shows the table."""
        manifest = store.Manifest(
            kind=self.kind,
            name=self.name,
            config=self.job.config,
            seed=self.run.seed,
            backbone=self.model.info.describe(),
            data=[describe_data(data) for data in (*self.tasks, *self.kept)],
            parents=self.parents,
            notes=self.notes,
        )
        with self.job.publish(manifest) as folder:
            self.write(folder)
            metrics["parameters"]["stored"] = store.parameter_count(folder)
            write_json(folder / "metrics.json", metrics)
            if done.fusion_weights:
                weights = {"validation": done.fusion_weights, "history": done.weight_history}
                write_json(folder / "fusion_weights.json", weights)
                save_heatmap(done.fusion_weights, folder / "fusion_weights.png")
            write_predictions(folder / "predictions.jsonl", self.tasks, done.outputs["test"])
            (folder / "config.yaml").write_text(
                yaml.safe_dump(self.run.config, sort_keys=False), encoding="utf-8"
            )
            (folder / "README.md").write_text(
                card(manifest, self.tasks, metrics, done.fusion_weights, command_line(), what=self.what),
                encoding="utf-8",
            )
        show_results(self.run.console, f"{self.kind} {self.name}", self.tasks, metrics)


def build_heads(model: AdaptedModel, tasks: Sequence[TaskData], settings: HeadSettings) -> None:
    """One head a task; a regression head works in standard deviations of the training targets."""
    for data in tasks:
        shift, scale = 0.0, 1.0
        if data.spec.type == REGRESSION:
            labels = [row["label"] for row in data.splits["train"]]
            shift, scale = float(np.mean(labels)), float(np.std(labels)) or 1.0
        model.add_head(
            data.spec.name, settings.for_task(data.spec.type, data.spec.labels, shift=shift, scale=scale)
        )


def encode(tasks: Sequence[TaskData], backbone: Backbone, root: Path) -> dict[str, list[Encoded]]:
    """Every task's splits as tokens, by split; kept below `root`/.cache."""
    encoded = [encode_task(data, backbone, root / ".cache" / "tokens") for data in tasks]
    return {split: [task[split] for task in encoded] for split in ("train", "validation", "test")}


def describe_data(data: TaskData) -> dict[str, Any]:
    """What a manifest says of a task's data."""
    return {
        "task": data.spec.name,
        "source": data.source,
        "fingerprint": data.fingerprint,
        "sizes": {split: len(rows) for split, rows in data.splits.items()},
    }


def announce(run: Run, what: str, backbone: str, tasks: Sequence[TaskData]) -> None:
    """The first line of a run, naming data source and backbone, and what the data needed."""
    sources = "; ".join(dict.fromkeys(f"{data.spec.name} from {data.source}" for data in tasks))
    run.console.print(f"{what} | data: {sources} | backbone: {backbone}", soft_wrap=True)
    for data in tasks:
        sizes = ", ".join(f"{len(rows):,} {split}" for split, rows in data.splits.items())
        run.console.print(f"  {data.spec.name}: {sizes}")
        for note in data.notes:
            run.console.print(f"    note: {note}", soft_wrap=True)


def primary_score(metrics: Mapping[str, float], tasks: Sequence[TaskSpec]) -> float:
    """The mean over tasks of their primary metrics: what selects the best checkpoint."""
    return metrics[tasks[0].metric] if len(tasks) == 1 else metrics["score"]


def tracking_spec(run: Run) -> TrackingSpec:
    """The checked `logging` section."""
    from fusion_pipeline.registry import build_from

    values = {key: value for key, value in run.section("logging").items() if key != "kind"}
    target = f"{TrackingSpec.__module__}.{TrackingSpec.__qualname__}"
    spec: TrackingSpec = build_from({"_target_": target, **values}, group="logging")
    return spec


def write_json(path: Path, value: Any) -> None:
    """Indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_predictions(path: Path, tasks: Sequence[TaskData], outputs: Sequence[TaskOutputs]) -> None:
    """One line an example of the test set: its text, label, prediction and probabilities."""
    with path.open("w", encoding="utf-8") as file:
        for data, found in zip(tasks, outputs, strict=True):
            for row in _prediction_rows(data, found):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _prediction_rows(data: TaskData, found: TaskOutputs) -> list[dict[str, Any]]:
    if is_ragged(data.spec):
        return _typed_rows(data, found)
    labels, probabilities = data.spec.labels, found.probabilities()
    rows = []
    for position, index in enumerate(found.ids):
        row = data.splits["test"][int(index)]
        said: dict[str, Any] = {
            "task": data.spec.name,
            "id": int(index),
            **{k: row[k] for k in data.spec.text},
        }
        predicted = found.predictions()[position] if labels is None else None
        if labels is None or probabilities is None:
            rows.append(said | {"label": float(row["label"]), "prediction": float(predicted)})  # type: ignore[arg-type]
            continue
        chances = probabilities[position]
        named = {name: round(float(p), 6) for name, p in zip(labels, chances, strict=True)}
        rows.append(
            said
            | {
                "label": labels[row["label"]],
                "prediction": labels[int(chances.argmax())],
                "probabilities": named,
            }
        )
    return rows


def _typed_rows(data: TaskData, found: TaskOutputs) -> list[dict[str, Any]]:
    rows = []
    for index, answer, right in zip(found.ids, found.answers(), found.right(), strict=True):
        row = data.splits["test"][int(index)]
        said: dict[str, Any] = {
            "task": data.spec.name,
            "id": int(index),
            **{k: row[k] for k in data.spec.text},
        }
        rows.append(said | {"label": right, **answer_json(answer)})
    return rows


def show_token_notes(run: Run, splits: dict[str, list[Encoded]], tasks: Sequence[TaskData]) -> None:
    """Says what was cut off when rows became tokens."""
    for split, parts in splits.items():
        for data, encoded in zip(tasks, parts, strict=True):
            kind = task_type(data.spec.type)
            for note in kind.notes(encoded) if isinstance(kind, RowType) else ():
                run.console.print(f"    note: {data.spec.name}, {split}: {note}", soft_wrap=True)


def command_line() -> str:
    """The command that is running, as a person would type it."""
    if COMMAND in os.environ:
        return os.environ[COMMAND]
    # orig_argv: Hydra and the command line rewrite sys.argv.
    given = sys.orig_argv[sys.orig_argv.index("-m") + 2 :] if "-m" in sys.orig_argv else sys.argv[1:]
    return " ".join(["python -m fusion_pipeline", *(shlex.quote(argument) for argument in given)])
