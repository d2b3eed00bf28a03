"""Our functions as an `evaluate.Metric`; importing this file imports evaluate."""

from __future__ import annotations

from typing import Any

import evaluate
from datasets import Features, Value

from fusion_pipeline.tasks import scores


class ScoreMetric(evaluate.Metric):
    """A function of `scores.py`, named by evaluate's own `config_name`."""

    def _info(self) -> evaluate.MetricInfo:
        function = getattr(scores, self.config_name)
        # float64 holds class numbers exactly, so one schema serves classes and scores.
        features = Features({"predictions": Value("float64"), "references": Value("float64")})
        return evaluate.MetricInfo(description=function.__doc__, citation="", features=features)

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        return {self.config_name: getattr(scores, self.config_name)(predictions, references)}

    def _build_data_dir(self) -> str:
        # The base class makes a cache folder even for a metric that stays in memory.
        return ""
