"""One of several choices: each is read with the context, and one head scores them all. Loss: cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.cells import Cells, spread_choices
from fusion_pipeline.tasks.labels import read_label
from fusion_pipeline.tasks.parts import Parts
from fusion_pipeline.tasks.task_type import Answer, Row, RowType

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.labels import Label
    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded


class MultipleChoice(RowType):
    """`{"context", "question", "choices", "label": position}`; rows may have different numbers of choices.

    Context or question may be empty. Each choice is the second text of a pair with both; the scores of a row's
    choices go through one softmax.
    """

    name = "multiple_choice"
    head = "choices"
    metrics = ("accuracy",)
    fields = ("context", "question", "choices")
    named = False
    exact = True
    example = '[("a context", "a question?", ["first choice", "second choice"])]'
    lists = ("choices",)
    optional = ("context", "question")
    teaches = True
    spelled = ("separator",)

    def arrange(self, logits: Tensor, mask_BT: Tensor | None, choices_BC: Tensor | None) -> Tensor:
        """Scores of sequences (S, 1) → (B, C)."""
        from fusion_pipeline.heads.choices import by_row

        return logits if choices_BC is None else by_row(logits, choices_BC)

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """−log softmax(scores)_right over the choices of the row. Shapes: (B, C), (B,) → (B,)."""
        from torch.nn import functional as F

        return F.cross_entropy(logits, labels.long(), reduction="none")

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """The softened divergence over the row's choices."""
        from fusion_pipeline.softening import like, softened, without_absent

        return softened(*without_absent(like(said, logits), logits), temperature)

    def open(self, row: Mapping[str, Any], columns: Mapping[str, str], cells: Cells) -> Mapping[str, Any]:
        """The row with its choices in one list, whether as text or in a column each."""
        if cells.choices:
            return {**row, columns["choices"]: spread_choices(row, cells.choices)}
        return super().open(row, columns, cells)

    def read(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """Context, question and choices."""
        texts = {key: _text(row.get(columns[key]), columns[key]) for key in ("context", "question")}
        if not any(text.strip() for text in texts.values()):
            raise ValueError("has neither context nor question")
        return {**texts, "choices": _choices(row.get(columns["choices"]), columns["choices"])}

    def read_label(self, value: Any, inputs: Row, index: Mapping[Label, int]) -> int:
        """The position of the right choice, given by itself, its letter (A, B, ...) or the choice's text."""
        label, choices = read_label(value), inputs["choices"]
        if isinstance(label, str) and choices.count(label) == 1:
            return int(choices.index(label))
        if isinstance(label, str) and len(label) == 1 and label.isascii() and label.isalpha():
            label = ord(label.upper()) - ord("A")
        if not isinstance(label, int) or not 0 <= label < len(choices):
            raise ValueError(f"has the label {value!r}, which is no position in its {len(choices)} choices")
        return label

    def given(self, item: Any) -> Row:
        """(context, question, choices)."""
        if isinstance(item, str) or not isinstance(item, tuple | list) or len(item) != 3:
            raise ValueError("is to be (context, question, [choice, choice, ...])")
        return self.read(dict(zip(self.fields, item, strict=True)), {key: key for key in self.fields})

    def asked(self, text: str, second: str | None, choices: Sequence[str]) -> Any:
        """Context, question (or none) and choices."""
        if not choices:
            raise ValueError("needs its choices: choices=[first,second]")
        return (text, second or "", list(choices))

    def shown(self, answer: Answer, row: Mapping[str, Any]) -> str:
        """The choice itself, then each choice's share."""
        shares = (answer.probabilities or {}).values()
        listed = ", ".join(f"{choice} {p:.3f}" for choice, p in zip(row["choices"], shares, strict=True))
        return f"{answer.prediction}: {row['choices'][answer.prediction]}  ({listed})"

    def encode(self, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
        """A sequence for each choice."""
        import numpy as np

        from fusion_pipeline.training.encoding import tokenise

        asked = [f"{row['context']} {row['question']}".strip() for row in rows for _ in row["choices"]]
        found = tokenise(backbone, asked, [choice for row in rows for choice in row["choices"]])
        groups = np.cumsum([0, *(len(row["choices"]) for row in rows)]).astype(np.int64)
        labels = np.array([row.get("label", 0) for row in rows], dtype=np.int64)
        return {**found, "groups": groups, "labels": labels}

    def crop(self, flat: np.ndarray, encoded: Encoded, index: int, width: int) -> np.ndarray:
        """Shapes: (W,) → (C,)."""
        return flat[: int(encoded.sequences[index])]

    def answer(
        self, logits: np.ndarray, labels: tuple[str, ...] | None, encoded: Encoded, index: int
    ) -> Answer:
        """The position of the best choice, and what each position has of the softmax."""
        import numpy as np

        shares = np.exp(logits.astype(float) - logits.max())
        named = {str(i): float(share) for i, share in enumerate(shares / shares.sum())}
        return Answer(prediction=int(logits.argmax()), probabilities=named)

    def said(self, label: Any, labels: tuple[str, ...] | None, row: Mapping[str, Any]) -> int:
        """The position."""
        return int(label)

    def score(
        self, answers: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> dict[str, float]:
        """The share of rows that are right."""
        from fusion_pipeline.tasks.metrics import compute

        return compute(("accuracy",), answers, right)

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """The mean of what is right."""
        from fusion_pipeline.tasks.weighted import mean

        return mean([self.points(*pair) for pair in zip(said, right, strict=True)])

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """The right choice and the others."""
        return Parts(names=("right choice", "other choices"), of=lambda i: _right_and_others(encoded, i))


def _text(value: Any, column: str) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"has a {type(value).__name__} in '{column}' where text should be")
    return value or ""


def _choices(value: Any, column: str) -> list[str]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError(f"has no list of two choices or more in '{column}'")
    if not all(isinstance(choice, str) and choice.strip() for choice in value):
        raise ValueError(f"has an empty choice in '{column}', or one that is no text")
    return list(value)


def _right_and_others(encoded: Encoded, index: int) -> np.ndarray:
    import numpy as np

    right = np.arange(encoded.sequences[index]) == encoded.labels[index]
    return np.stack([right, ~right], axis=-1)[:, None]


TYPE = MultipleChoice()
