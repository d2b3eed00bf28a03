"""A tag for every word: named entities, parts of speech.

A word's tag stands at its first piece; the other pieces count for nothing. A word that truncation cuts off (or
that has no piece) is predicted as O, or, where there is no O, as no tag at all, which is wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.entities import entities, entity_scores, is_bio
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

IGNORED = -100  # the label of a token that counts for nothing, as everywhere in the field
OUTSIDE = "O"


class TokenClassification(RowType):
    """`{"tokens": words, "label": tag numbers}`; metrics: F1 of entities for B-/I- tags, accuracy of words."""

    name = "token_classification"
    head = "tokens"
    metrics = ("accuracy", "f1", "precision", "recall")
    fields = ("tokens",)
    label = "tags"
    pools = False
    teaches = True
    example = '[["The", "painter", "slept", "."]]'
    lists = ("tokens", "label")
    spelled = ("separator",)

    def metric(self, said: str | None, average: str | None, labels: tuple[str, ...] | None) -> str:
        """F1 of entities where the tags are of that kind."""
        return said or ("f1" if is_bio(labels or ()) else "accuracy")

    def read(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """The words."""
        return {"tokens": _words(row.get(columns["tokens"]), columns["tokens"])}

    def read_label(self, value: Any, inputs: Row, index: Mapping[Label, int]) -> list[int]:
        """A number for each word."""
        if not isinstance(value, list | tuple):
            raise ValueError("has no list of tags")
        if len(value) != len(inputs["tokens"]):
            raise ValueError(f"has {len(value)} tags for {len(inputs['tokens'])} words")
        unknown = next((tag for tag in value if read_label(tag) not in index), None)
        if unknown is not None:
            raise ValueError(f"has the tag {unknown!r}, which is not among the label names")
        return [index[read_label(tag)] for tag in value]

    def given(self, item: Any) -> Row:
        """Words, or a text that spaces cut into words."""
        return {"tokens": _words(item.split() if isinstance(item, str) else item, "tokens")}

    def shown(self, answer: Answer, row: Mapping[str, Any]) -> str:
        """Each word with its tag."""
        return " ".join(f"{word}/{tag}" for word, tag in zip(row["tokens"], answer.prediction, strict=True))

    def encode(self, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
        """The words as one text, and a label for each token."""
        import numpy as np

        from fusion_pipeline.training.encoding import tokenise

        texts = [" ".join(row["tokens"]) for row in rows]
        found = tokenise(backbone, texts, None, offsets=True)
        offsets, starts = found.pop("offsets"), found["starts"]
        labels = np.full(len(found["ids"]), IGNORED, dtype=np.int64)
        firsts = np.full(len(found["ids"]), -1, dtype=np.int64)
        for i, row in enumerate(rows):
            part = slice(starts[i], starts[i + 1])
            firsts[part] = _firsts(row["tokens"], offsets[part])
            here = firsts[part] >= 0
            if "label" in row:
                labels[part][here] = np.array(row["label"])[firsts[part][here]]
        return {**found, "labels": labels, "per_token": firsts}

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """The mean cross-entropy of the example's labelled tokens. Shapes: (B, T, C), (B, T) → (B,)."""
        from torch.nn import functional as F

        labels = labels.long()
        logits = logits[:, : labels.shape[1]].transpose(1, 2)
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
        return losses.sum(1) / (labels != IGNORED).sum(1).clamp(min=1)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """The mean over the example's labelled tokens of the softened divergence."""
        from fusion_pipeline.softening import like, softened

        real = labels != IGNORED
        apart = softened(like(said, logits), logits, temperature)[:, : labels.shape[1]]
        return (apart * real).sum(1) / real.sum(1).clamp(min=1)

    def crop(self, flat: np.ndarray, encoded: Encoded, index: int, width: int) -> np.ndarray:
        """Shapes: (W,) → (T, C)."""
        tokens = int(encoded.lengths[index])
        return flat[: tokens * width].reshape(tokens, width)

    def answer(
        self, logits: np.ndarray, labels: tuple[str, ...] | None, encoded: Encoded, index: int
    ) -> Answer:
        """A tag for each word."""
        names = labels or ()
        assert encoded.per_token is not None
        words = encoded.per_token[encoded.starts[index] : encoded.starts[index + 1]]
        said: list[str | None] = [OUTSIDE if OUTSIDE in names else None] * len(encoded.rows[index]["tokens"])
        for position, word in enumerate(words):
            if word >= 0:
                said[word] = names[int(logits[position].argmax())]
        return Answer(prediction=said)

    def said(self, label: Any, labels: tuple[str, ...] | None, row: Mapping[str, Any]) -> list[str]:
        """The tags by name."""
        return [(labels or ())[number] for number in label]

    def score(
        self, answers: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> dict[str, float]:
        """Accuracy of words and, for B-/I- tags, micro F1, precision and recall of entities."""
        pairs = [
            pair for said, true in zip(answers, right, strict=True) for pair in zip(said, true, strict=True)
        ]
        accuracy = sum(said == true for said, true in pairs) / max(len(pairs), 1)
        entities = entity_scores(answers, right) if is_bio(labels or ()) else {}
        return {"accuracy": accuracy, **entities}

    def points(self, said: Any, right: Any) -> float:
        """The share of words with the right tag."""
        return sum(a == b for a, b in zip(said, right, strict=True)) / max(len(right), 1)

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """From each example's hits, words or entities."""
        import numpy as np

        from fusion_pipeline.tasks.weighted import f1_of_counts, ratio

        if metric == "accuracy":
            pairs = [zip(a, b, strict=True) for a, b in zip(said, right, strict=True)]
            return ratio(
                np.array([sum(a == b for a, b in pair) for pair in pairs]), np.array(list(map(len, right)))
            )
        counts = np.array([_entity_counts(*pair) for pair in zip(said, right, strict=True)])
        hits, predicted, true = counts.reshape(-1, 3).T
        if metric == "f1":
            return f1_of_counts(hits, predicted, true)
        return ratio(hits, predicted if metric == "precision" else true)

    def notes(self, encoded: Encoded) -> tuple[str, ...]:
        """How many words have no token."""
        assert encoded.per_token is not None
        words = sum(len(row["tokens"]) for row in encoded.rows)
        lost = words - int((encoded.per_token >= 0).sum())
        return (f"{lost:,} of {words:,} words are cut off; they are predicted as no entity",) if lost else ()

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """The tags, each token for its own; pieces without a tag count for none."""
        import numpy as np

        numbers = np.arange(len(labels or ()))
        return Parts(names=tuple(labels or ()), of=lambda i: encoded.label(i)[None, :, None] == numbers)


def _entity_counts(said: Sequence[str | None], right: Sequence[str]) -> tuple[int, int, int]:
    """Entities hit, predicted, and right."""
    mine, true = entities(said), entities(right)
    return len(mine & true), len(mine), len(true)


def _words(value: Any, column: str) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"has no list of words in '{column}'")
    if not value:
        raise ValueError(f"has no word in '{column}'")
    if not all(word.strip() for word in value):
        raise ValueError(f"has an empty word in '{column}'")
    return list(value)


def _firsts(words: Sequence[str], offsets: np.ndarray) -> list[int]:
    """For each token the word it begins, -1 where it begins none. Offsets (T, 2) are into the joined words."""
    begins = [0]
    for word in words:
        begins.append(begins[-1] + len(word) + 1)
    found: list[int] = []
    seen = -1
    for start, end in offsets.tolist():
        # The last sign: some tokenizers count the space before a word to its piece.
        at = bisect_right(begins, end - 1) - 1 if end > start else -1
        inside = at > seen and end - 1 < begins[at] + len(words[at])
        found.append(at if inside else -1)
        seen = at if inside else seen
    return found


TYPE = TokenClassification()
