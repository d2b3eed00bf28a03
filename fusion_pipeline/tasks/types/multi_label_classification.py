"""Any number of labels a text or pair of texts: one sigmoid each. Loss: binary cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fusion_pipeline.tasks.labels import read_label
from fusion_pipeline.tasks.parts import Parts
from fusion_pipeline.tasks.task_type import Answer
from fusion_pipeline.tasks.text_type import TextType

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.labels import Label
    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded


class MultiLabel(TextType):
    """`{"text", "text_pair"?, "label": class numbers}`, none of them too; said is what is likelier than not."""

    name = "multi_label_classification"
    head = "labels"
    metrics = ("f1_micro", "f1_macro", "accuracy")
    lists = ("label",)
    teaches = True
    spelled = ("separator",)

    def metric(self, said: str | None, average: str | None, labels: tuple[str, ...] | None) -> str:
        """Of F1 the micro average, unless another is said."""
        return f"f1_{average or 'micro'}" if said in (None, "f1") else str(said)

    def read_label(self, value: Any, inputs: Mapping[str, Any], index: Mapping[Label, int]) -> list[int]:
        """The class numbers, sorted."""
        if not isinstance(value, list | tuple):
            raise ValueError("has no list of labels")
        unknown = next((label for label in value if read_label(label) not in index), None)
        if unknown is not None:
            raise ValueError(f"has the label {unknown!r}, which is not among the label names")
        return sorted({index[read_label(label)] for label in value})

    def encode(self, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
        """Tokens, and labels (n, C) of 0 and 1 (n, 0 without labels)."""
        import numpy as np

        from fusion_pipeline.training.encoding import encode_plain

        classes = 1 + max((number for row in rows for number in row.get("label", ())), default=-1)
        labels = np.zeros((len(rows), classes), dtype=np.float32)
        for i, row in enumerate(rows):
            labels[i, row.get("label", [])] = 1.0
        return {**encode_plain(rows, backbone), "labels": labels}

    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """The mean over classes of −y log σ(z) − (1 − y) log(1 − σ(z)). Shapes: (B, C), (B, ≤ C) → (B,).

        Classes that a split never has are no columns of its labels: they are 0.
        """
        from torch.nn import functional as F

        wanted = F.pad(labels.to(logits.dtype), (0, logits.shape[1] - labels.shape[1]))
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """The mean over labels of the softened divergence of two Bernoulli distributions."""
        from fusion_pipeline.softening import like, softened_bits

        return softened_bits(like(said, logits), logits, temperature).mean(1)

    def answer(
        self, logits: np.ndarray, labels: tuple[str, ...] | None, encoded: Encoded, index: int
    ) -> Answer:
        """The labels that are likelier than not, and how likely each is."""
        import numpy as np

        chances = 1 / (1 + np.exp(-np.clip(logits.astype(float), -60, 60)))
        named = {name: float(p) for name, p in zip(labels or (), chances, strict=True)}
        return Answer(prediction=[name for name, p in named.items() if p > 0.5], probabilities=named)

    def said(self, label: Any, labels: tuple[str, ...] | None, row: Mapping[str, Any]) -> list[str]:
        """The labels by name."""
        return [(labels or ())[number] for number in label]

    def score(
        self, answers: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> dict[str, float]:
        """F1 over all decisions and as the mean over labels; accuracy is the share of rows wholly right."""
        names = labels or ()
        counts = [_counts(answers, right, name) for name in names]
        hits, decided = sum(hit for hit, _ in counts), sum(both for _, both in counts)
        wholly = sum(set(said) == set(true) for said, true in zip(answers, right, strict=True))
        return {
            "f1_micro": 2 * hits / max(decided, 1),
            "f1_macro": sum(2 * hit / max(both, 1) for hit, both in counts) / max(len(names), 1),
            "accuracy": wholly / max(len(right), 1),
        }

    def points(self, said: Any, right: Any) -> float:
        """F1 of the labels; 1 where there are none and none is said."""
        both = len(said) + len(right)
        return 2 * len(set(said) & set(right)) / both if both else 1.0

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """From each label's hits, and how often it is said and right."""
        import numpy as np

        from fusion_pipeline.tasks.weighted import f1_of_counts, mean, of_sums

        if metric == "accuracy":
            return mean([set(a) == set(b) for a, b in zip(said, right, strict=True)])
        names = labels or ()
        mine, true = (
            np.array([[name in row for name in names] for row in rows], float) for rows in (said, right)
        )
        if metric == "f1_micro":
            return f1_of_counts((mine * true).sum(1), mine.sum(1), true.sum(1))

        def macro(sums: np.ndarray) -> np.ndarray:
            hits, both = np.split(sums, 2, axis=1)
            return (2 * hits / np.maximum(both, 1)).mean(1)

        return of_sums(np.concatenate([mine * true, mine + true], 1), macro)

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """The labels; an example with several counts for each of them."""
        return Parts(names=tuple(labels or ()), of=lambda i: encoded.labels[i][None, None] > 0)


def _counts(answers: Sequence[Any], right: Sequence[Any], name: str) -> tuple[int, int]:
    """Hits, and predicted + right, of one label."""
    hits = sum(name in said and name in true for said, true in zip(answers, right, strict=True))
    return hits, sum(name in said for said in answers) + sum(name in true for true in right)


TYPE = MultiLabel()
