"""Logits → metrics per task, each example once, whatever the batches and ranks were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction

from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.tasks.calibration import calibration_error
from fusion_pipeline.tasks.metrics import compute, metrics_for
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.task_type import Answer, RowType
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.encoding import Encoded


@dataclass(frozen=True, kw_only=True)
class TaskOutputs:
    """One task's outputs in the order of its examples. Shapes: logits (n, C), labels (n,), ids (n,)."""

    spec: TaskSpec
    logits: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    encoded: Encoded | None = None

    def answers(self) -> list[Answer]:
        """What is said of each example, for types that answer for themselves."""
        kind, encoded = self._kind(), self.encoded
        assert encoded is not None
        width = kind.width(self.spec.labels)
        rows = zip(self.logits, self.ids, strict=True)
        crops = [(kind.crop(flat, encoded, int(i), width), int(i)) for flat, i in rows]
        return [kind.answer(logits, self.spec.labels, encoded, i) for logits, i in crops]

    def right(self) -> list[Any]:
        """What is right of each example, in the words of the answers."""
        assert self.encoded is not None
        rows = [self.encoded.rows[int(i)] for i in self.ids]
        return [self._kind().said(row["label"], self.spec.labels, row) for row in rows]

    def predictions(self) -> np.ndarray:
        """Class indices, or values."""
        return self.logits[:, 0] if self.spec.labels is None else self.logits.argmax(-1)

    def probabilities(self) -> np.ndarray | None:
        """softmax(logits), None for regression."""
        if self.spec.labels is None:
            return None
        shifted = np.exp(self.logits - self.logits.max(-1, keepdims=True))
        return shifted / shifted.sum(-1, keepdims=True)

    def metrics(self, scale: float) -> dict[str, float]:
        """The task's metrics and the mean loss (squared error in units of `scale` for regression)."""
        if isinstance(task_type(self.spec.type), RowType):
            said = [answer.prediction for answer in self.answers()]
            return self._kind().score(said, self.right(), self.spec.labels) | {"loss": self._typed_loss()}
        found = compute(metrics_for(self.spec), self.predictions(), self.labels)
        probabilities = self.probabilities()
        if probabilities is not None:
            found["calibration_error"] = calibration_error(probabilities, self.labels)
        return found | {"loss": self._loss(scale)}

    def _kind(self) -> RowType:
        kind = task_type(self.spec.type)
        assert isinstance(kind, RowType)
        return kind

    def _typed_loss(self) -> float:
        kind, encoded = self._kind(), self.encoded
        assert encoded is not None
        losses = []
        for flat, i in zip(self.logits, self.ids, strict=True):
            logits = kind.crop(flat, encoded, int(i), kind.width(self.spec.labels))
            label = np.asarray(encoded.label(int(i)))
            losses.append(
                float(kind.losses(torch.from_numpy(logits[None]), torch.from_numpy(label[None]), 1.0))
            )
        return float(np.mean(losses))

    def _loss(self, scale: float) -> float:
        probabilities = self.probabilities()
        if probabilities is None:
            return float(np.mean(((self.logits[:, 0] - self.labels) / scale) ** 2))
        picked = probabilities[np.arange(len(self.labels)), self.labels.astype(int)]
        return float(-np.log(np.clip(picked, 1e-12, None)).mean())


@dataclass(kw_only=True)
class Scorer:
    """Trainer's `compute_metrics`: keys `accuracy` for one task, `nli/accuracy` for several, and `score`.

    `score` is the mean over tasks of their primary metrics: what selects the best checkpoint. `encoded` are the
    tasks' examples that are being scored, for the types whose answers are in words of the rows.
    """

    tasks: Sequence[TaskSpec]
    heads: Mapping[str, HeadSpec]
    encoded: Sequence[Encoded] | None = None

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """All metrics of one evaluation."""
        found: dict[str, float] = {}
        scores = []
        for outputs in self.split(prediction.predictions, prediction.label_ids):
            metrics = outputs.metrics(self.heads[outputs.spec.name].scale)
            scores.append(metrics[outputs.spec.metric])
            prefix = f"{outputs.spec.name}/" if len(self.tasks) > 1 else ""
            found |= {prefix + name: value for name, value in metrics.items()}
        if len(self.tasks) > 1:
            found["loss"] = float(np.mean([found[f"{task.name}/loss"] for task in self.tasks]))
        return found | {"score": float(np.mean(scores))}

    def split(self, logits: Any, label_ids: Any) -> list[TaskOutputs]:
        """Each task's outputs: fillers dropped, every example once, in its own order."""
        labels, task_ids, example_ids = label_ids
        parts = []
        for index in range(len(self.tasks)):
            rows = np.flatnonzero((task_ids == index) & (example_ids >= 0))
            ids, first = np.unique(example_ids[rows], return_index=True)
            rows = rows[first]
            parts.append(self._part(index, logits[rows], labels[rows], ids))
        return parts

    def _part(self, index: int, logits: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> TaskOutputs:
        spec, encoded = self.tasks[index], None if self.encoded is None else self.encoded[index]
        kind = task_type(spec.type)
        if not isinstance(kind, RowType):
            logits = logits[:, : kind.width(spec.labels)]
            labels = labels[:, 0] if labels.ndim > 1 else labels
        return TaskOutputs(spec=spec, logits=logits, labels=labels, ids=ids, encoded=encoded)


def is_ragged(spec: TaskSpec) -> bool:
    """Whether a task's logits or labels are not one row of a fixed width."""
    return isinstance(task_type(spec.type), RowType)
