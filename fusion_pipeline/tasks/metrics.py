"""Metrics through `evaluate`, with our own metric class, so that nothing is fetched from a hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.task_types import CLASSIFICATION, REGRESSION
from fusion_pipeline.tasks.types import task_type


def metrics_for(spec: TaskSpec) -> tuple[str, ...]:
    """The metrics worth reporting for a task, the primary one first."""
    if spec.type == REGRESSION:
        others = task_type(REGRESSION).metrics
    else:
        positive = ("f1",) if spec.output_size == 2 else ()
        others = ("accuracy", *positive, "f1_macro", "matthews")
    return tuple(dict.fromkeys((spec.metric, *others)))


def compute(names: Sequence[str], predictions: Any, references: Any) -> dict[str, float]:
    """Scores predictions against references.

    Args:
        names: Names of metrics.
        predictions: Class numbers or scores, one per row (array or list).
        references: The right ones.
    """
    import numpy as np

    predicted, right = np.asarray(predictions), np.asarray(references)
    if predicted.shape != right.shape or predicted.ndim != 1 or not predicted.size:
        raise ValueError(f"one prediction per row is needed, got {predicted.shape} for {right.shape}")
    if not np.isfinite(predicted).all():
        raise PipelineError("the model predicts NaN or infinity", hint="a smaller trainer.learning_rate")
    return {name: _metric(name).compute(predictions=predicted, references=right)[name] for name in names}


@cache
def _metric(name: str) -> Any:
    from fusion_pipeline.tasks.score_metric import ScoreMetric

    known = [metric for kind in (CLASSIFICATION, REGRESSION) for metric in task_type(kind).metrics]
    if name not in known:
        raise PipelineError(f"unknown metric '{name}'", where="metric", hint=did_you_mean(name, known))
    # In memory: evaluate otherwise writes every prediction to a cache in the home folder, under a lock.
    return ScoreMetric(config_name=name, keep_in_memory=True)
