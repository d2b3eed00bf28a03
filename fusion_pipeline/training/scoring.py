"""Logits → metrics per task, each example once, whatever the batches and ranks were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import EvalPrediction

from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.tasks.metrics import compute, metrics_for
from fusion_pipeline.tasks.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class TaskOutputs:
    """One task's outputs in the order of its examples. Shapes: logits (n, C), labels (n,), ids (n,)."""

    spec: TaskSpec
    logits: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

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
        found = compute(metrics_for(self.spec), self.predictions(), self.labels)
        return found | {"loss": self._loss(scale)}

    def _loss(self, scale: float) -> float:
        probabilities = self.probabilities()
        if probabilities is None:
            return float(np.mean(((self.logits[:, 0] - self.labels) / scale) ** 2))
        picked = probabilities[np.arange(len(self.labels)), self.labels.astype(int)]
        return float(-np.log(np.clip(picked, 1e-12, None)).mean())


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Trainer's `compute_metrics`: keys `accuracy` for one task, `nli/accuracy` for several, and `score`.

    `score` is the mean over tasks of their primary metrics: what selects the best checkpoint.
    """

    tasks: Sequence[TaskSpec]
    heads: Mapping[str, HeadSpec]

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
        for index, spec in enumerate(self.tasks):
            rows = np.flatnonzero((task_ids == index) & (example_ids >= 0))
            ids, first = np.unique(example_ids[rows], return_index=True)
            rows = rows[first]
            width = 1 if spec.labels is None else len(spec.labels)
            parts.append(TaskOutputs(spec=spec, logits=logits[rows, :width], labels=labels[rows], ids=ids))
        return parts
