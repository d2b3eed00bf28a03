"""The answer to a question as a span of its context. Loss: cross-entropy of its first and its last token.

A context that is too long is cut off at its end; where the answer goes with it, the row teaches nothing and is
scored by what is said of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.answers import best_exact, best_f1
from fusion_pipeline.tasks.cells import Cells, found_answer, record_cell
from fusion_pipeline.tasks.parts import Parts
from fusion_pipeline.tasks.task_type import Answer, Row, RowType
from fusion_pipeline.tasks.texts import check_text

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.labels import Label
    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded

LOST = -100
LONGEST = 30  # tokens of an answer


class SpanQA(RowType):
    """`{"context", "question", "label": {"text": [...], "answer_start": [...]}}`; the first answer is learnt."""

    name = "span_qa"
    head = "span"
    metrics = ("f1", "exact_match")
    fields = ("context", "question")
    label = "answers"
    pools = False
    named = False
    teaches = True
    example = '[("a context", "a question?")]'
    spelled = ("answer", "answer_start")

    def width(self, labels: Sequence[str] | None) -> int:
        """Two scores a token: that it begins the answer, and that it ends it."""
        return 2

    def arrange(self, logits: Tensor, mask_BT: Tensor | None, choices_BC: Tensor | None) -> Tensor:
        """Leaves padding out. Shapes: (B, T, 2), (B, T)."""
        import torch

        if mask_BT is None:
            return logits
        return logits.masked_fill(mask_BT.unsqueeze(-1) == 0, torch.finfo(logits.dtype).min)

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """Half of −log softmax(start)_first − log softmax(end)_last, 0 where the answer is lost."""
        from torch.nn import functional as F

        parts = logits.transpose(1, 2).flatten(0, 1)
        losses = F.cross_entropy(parts, labels.long().flatten(), ignore_index=LOST, reduction="none")
        return losses.view(-1, 2).mean(1)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """The mean of the softened divergences of first and last token."""
        from fusion_pipeline.softening import like, softened, without_absent

        theirs, ours = without_absent(like(said, logits), logits)
        return softened(theirs.transpose(1, 2), ours.transpose(1, 2), temperature).mean(1)

    def open_label(self, row: Mapping[str, Any], columns: Mapping[str, str], label: str, cells: Cells) -> Any:
        """A record of its answers, from one as text or from an answer and its start."""
        if cells.answer is None:
            return record_cell(row.get(label), label)
        start = row.get(cells.answer_start or "")
        return found_answer(row[columns["context"]], row.get(cells.answer), start, cells.answer)

    def read(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """Context and question."""
        return {key: check_text(row, column) for key, column in columns.items()}

    def read_label(self, value: Any, inputs: Row, index: Mapping[Label, int]) -> dict[str, Any]:
        """Answers that stand where they say."""
        texts = value.get("text") if isinstance(value, dict) else None
        starts = value.get("answer_start") if isinstance(value, dict) else None
        if (
            not isinstance(texts, list)
            or not isinstance(starts, list)
            or len(texts) != len(starts)
            or not texts
        ):
            raise ValueError('has no answers like {"text": ["..."], "answer_start": [0]}')
        for text, start in zip(texts, starts, strict=True):
            if not isinstance(text, str) or not text.strip() or not isinstance(start, int) or start < 0:
                raise ValueError("has an answer that is empty, or does not say where it starts")
            if inputs["context"][start : start + len(text)] != text:
                raise ValueError(
                    f"has an answer that does not stand at {start} of its context: {text[:40]!r}"
                )
        return {"text": texts, "answer_start": starts}

    def given(self, item: Any) -> Row:
        """(context, question)."""
        if isinstance(item, str) or not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError("is to be (context, question)")
        return self.read(dict(zip(self.fields, item, strict=True)), {key: key for key in self.fields})

    def encode(self, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
        """Question and context as a pair; labels (n, 2) are the answer's first and last token."""
        import numpy as np

        from fusion_pipeline.training.encoding import tokenise

        questions, contexts = [row["question"] for row in rows], [row["context"] for row in rows]
        found = tokenise(backbone, questions, contexts, offsets=True)
        places, starts = found.pop("offsets"), found["starts"]
        spans = [_span(row.get("label"), places[starts[i] : starts[i + 1]]) for i, row in enumerate(rows)]
        labels = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return {**found, "labels": labels, "per_token": places}

    def crop(self, flat: np.ndarray, encoded: Encoded, index: int, width: int) -> np.ndarray:
        """Shapes: (W,) → (T, 2)."""
        tokens = int(encoded.lengths[index])
        return flat[: tokens * width].reshape(tokens, width)

    def answer(
        self, logits: np.ndarray, labels: tuple[str, ...] | None, encoded: Encoded, index: int
    ) -> Answer:
        """The text of the best span of at most 30 tokens of the context; '' where no context is left."""
        import numpy as np

        assert encoded.per_token is not None
        places = encoded.per_token[encoded.starts[index] : encoded.starts[index + 1]]
        inside = np.flatnonzero(places[:, 1] > places[:, 0])
        if not len(inside):
            return Answer(prediction="")
        scores = logits[inside, 0][:, None] + logits[inside, 1][None, :]
        allowed = np.tril(np.triu(np.ones_like(scores, dtype=bool)), LONGEST - 1)
        first, last = np.unravel_index(np.where(allowed, scores, -np.inf).argmax(), scores.shape)
        text = encoded.rows[index]["context"][places[inside[first], 0] : places[inside[last], 1]]
        return Answer(prediction=text.strip())

    def said(self, label: Any, labels: tuple[str, ...] | None, row: Mapping[str, Any]) -> list[str]:
        """The texts that are right."""
        return list(label["text"])

    def score(
        self, answers: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> dict[str, float]:
        """F1 over words and exact match, each with the right answer that fits best."""
        pairs = list(zip(answers, right, strict=True))
        count = max(len(pairs), 1)
        return {
            "f1": sum(best_f1(said, true) for said, true in pairs) / count,
            "exact_match": sum(best_exact(said, true) for said, true in pairs) / count,
        }

    def points(self, said: Any, right: Any) -> float:
        """F1 of the words, with the right answer that fits best."""
        return best_f1(said, right)

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """The mean over examples."""
        from fusion_pipeline.tasks.weighted import mean

        of = {"f1": best_f1, "exact_match": best_exact}[metric]
        return mean([of(*pair) for pair in zip(said, right, strict=True)])

    def notes(self, encoded: Encoded) -> tuple[str, ...]:
        """How many answers are cut off."""
        lost = int((encoded.labels[:, 0] == LOST).sum())
        return (
            (f"{lost:,} of {len(encoded):,} answers are cut off with the end of their context",)
            if lost
            else ()
        )

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """The tokens of the answer and all others; an answer that is cut off has none."""
        return Parts(names=("answer", "all else"), of=lambda i: _inside_and_outside(encoded, i))


def _span(label: Mapping[str, Any] | None, places: np.ndarray) -> tuple[int, int]:
    """First and last token of the first answer, LOST where the tokens do not hold it whole."""
    import numpy as np

    if label is None:
        return LOST, LOST
    start, end = label["answer_start"][0], label["answer_start"][0] + len(label["text"][0])
    within = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < end) & (places[:, 1] > places[:, 0]))
    if not len(within) or places[:, 1].max() < start + len(label["text"][0].rstrip()):
        return LOST, LOST
    return int(within[0]), int(within[-1])


def _inside_and_outside(encoded: Encoded, index: int) -> np.ndarray:
    import numpy as np

    first, last = encoded.labels[index]
    at = np.arange(encoded.lengths[index])
    inside = (at >= first) & (at <= last) & (first != LOST)
    return np.stack([inside, ~inside], axis=-1)[None]


TYPE = SpanQA()
