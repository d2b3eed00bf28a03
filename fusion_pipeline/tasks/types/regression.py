"""A number for a text or pair of texts. Loss: squared error in standard deviations of the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.parts import Parts, thirds
from fusion_pipeline.tasks.task_type import TaskType

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded


class Regression(TaskType):
    """`{"text", "text_pair"?, "label": number}`."""

    name = head = "regression"
    metrics = ("pearson", "spearman")
    named = False
    teaches = True

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """((value − label) / scale)². Shapes: (B, 1), (B,) → (B,)."""
        return ((logits[:, 0] - labels.float()) / scale).square()

    def points(self, said: Any, right: Any) -> float:
        """1 − |value − label|."""
        return 1.0 - abs(float(said) - float(right))

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """From sums of squares and products, of values or of their ranks."""
        import numpy as np

        from fusion_pipeline.tasks.weighted import correlation, rank_correlation

        of = {"pearson": correlation, "spearman": rank_correlation}[metric]
        return of(np.asarray(said, dtype=float), np.asarray(right, dtype=float))

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """Thirds of the values."""
        return thirds(encoded.labels)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """((value − said) / scale)², without temperature."""
        return ((logits[:, 0] - said[:, 0]) / scale).square()


TYPE = Regression()
