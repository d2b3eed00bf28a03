"""One class a text or pair of texts. Loss: cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_pipeline.tasks.task_type import TaskType

if TYPE_CHECKING:
    from torch import Tensor


class Classification(TaskType):
    """`{"text", "text_pair"?, "label": class number}`."""

    name = head = "classification"
    metrics = ("accuracy", "f1", "f1_macro", "matthews")
    whole = True

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """−log softmax(logits)_label. Shapes: (B, C), (B,) → (B,)."""
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels.long(), reduction="none")


TYPE = Classification()
