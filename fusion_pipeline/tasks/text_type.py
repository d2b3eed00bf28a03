"""What types share whose rows are a text or a pair of texts, with one vector of logits each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.task_type import Row, RowType
from fusion_pipeline.tasks.texts import check_text

if TYPE_CHECKING:
    import numpy as np

    from fusion_pipeline.training.encoding import Encoded


class TextType(RowType):
    """`{"text", "text_pair"?, "label"}`."""

    def read(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """The text or texts."""
        return {key: check_text(row, column) for key, column in columns.items()}

    def given(self, item: Any) -> Row:
        """A text, or (text, second text)."""
        texts = [item] if isinstance(item, str) else item
        if not isinstance(texts, tuple | list) or len(texts) not in (1, 2):
            raise ValueError("is to be a text, or (text, second text)")
        row = dict(zip(("text", "text_pair"), texts, strict=False))
        return self.read(row, {key: key for key in row})

    def crop(self, flat: np.ndarray, encoded: Encoded, index: int, width: int) -> np.ndarray:
        """Shapes: (W,) → (C,)."""
        return flat[:width]
