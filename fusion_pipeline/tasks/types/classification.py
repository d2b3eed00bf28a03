"""One class a text or pair of texts. Loss: cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.parts import Parts, by_number
from fusion_pipeline.tasks.task_type import TaskType

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded


class Classification(TaskType):
    """`{"text", "text_pair"?, "label": class number}`."""

    name = head = "classification"
    metrics = ("accuracy", "f1", "f1_macro", "matthews")
    whole = exact = True
    teaches = True

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """−log softmax(logits)_label. Shapes: (B, C), (B,) → (B,)."""
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels.long(), reduction="none")

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """From how often each class is hit, said and right."""
        import numpy as np

        from fusion_pipeline.tasks.weighted import of_classes

        number = {name: i for i, name in enumerate(labels or ())}
        mine, true = (np.array([number[name] for name in names], dtype=int) for names in (said, right))
        return of_classes(metric, mine, true, len(number))

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """The classes."""
        return by_number(labels or (), encoded.labels)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """T² · KL(softmax(said / T) ‖ softmax(logits / T))."""
        from fusion_pipeline.softening import like, softened

        return softened(like(said, logits), logits, temperature)


TYPE = Classification()
