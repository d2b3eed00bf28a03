"""A number for a text or pair of texts. Loss: squared error in standard deviations of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_pipeline.tasks.task_type import TaskType

if TYPE_CHECKING:
    from torch import Tensor


class Regression(TaskType):
    """`{"text", "text_pair"?, "label": number}`."""

    name = head = "regression"
    metrics = ("pearson", "spearman")
    named = False

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """((value − label) / scale)². Shapes: (B, 1), (B,) → (B,)."""
        return ((logits[:, 0] - labels.float()) / scale).square()


TYPE = Regression()
