"""The score of entities as an `evaluate.Metric`; importing this file imports evaluate."""

from __future__ import annotations

from typing import Any

import evaluate
from datasets import Features, Sequence, Value

from fusion_pipeline.tasks.entities import score_entities


class EntityMetric(evaluate.Metric):
    """Rows of tags in, F1, precision and recall of entities out."""

    def _info(self) -> evaluate.MetricInfo:
        tags = Sequence(Value("string"))
        features = Features({"predictions": tags, "references": tags})
        return evaluate.MetricInfo(description=score_entities.__doc__, citation="", features=features)

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        return score_entities(predictions, references)

    def _build_data_dir(self) -> str:
        # The base class makes a cache folder even for a metric that stays in memory.
        return ""
