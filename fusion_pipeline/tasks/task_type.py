"""What the pipeline asks of a task type: its rows, its tokens, its head, its loss, its answers, its metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fusion_pipeline.tasks.cells import Cells, list_cell

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.labels import Label
    from fusion_pipeline.tasks.parts import Parts
    from fusion_pipeline.tasks.weighted import Weighted
    from fusion_pipeline.training.encoding import Encoded

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one example: a value that JSON can hold, and probabilities by name where there are any."""

    prediction: Any
    probabilities: dict[str, float] | None = None


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as it is written to files."""
    said = {"prediction": answer.prediction}
    if answer.probabilities is None:
        return said
    return said | {"probabilities": {name: round(p, 6) for name, p in answer.probabilities.items()}}


class TaskType(ABC):
    """One type of task.

    head: what its heads are called. metrics: those it knows, the usual primary one first. fields: the fields of
    a row; empty stands for a text, or a text and a second one. label: the usual name of the label's column.
    pools: whether the head reads one vector a sequence, and not one a token. named: whether labels have names.
    whole: whether every class must occur in train. exact: whether an answer is right or wrong, and nothing between.
    spelled: the keys of `columns` that say how lists and records of a plain table are spelled, where it takes any.
    teaches: whether it has `distances`, so that it can be distilled.
    example: what `predict` takes, as Python (`pair_example` for pairs).
    """

    name: ClassVar[str]
    head: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[str, ...]] = ()
    label: ClassVar[str] = "label"
    pools: ClassVar[bool] = True
    named: ClassVar[bool] = True
    whole: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    spelled: ClassVar[tuple[str, ...]] = ()
    teaches: ClassVar[bool] = False
    example: ClassVar[str] = '["a text"]'
    pair_example: ClassVar[str] = '[("first text", "second text")]'

    def metric(self, said: str | None, average: str | None, labels: tuple[str, ...] | None) -> str:
        """The name of the primary metric, from what a data set says."""
        return said or self.metrics[0]

    def width(self, labels: Sequence[str] | None) -> int:
        """Outputs of a head, for one vector."""
        return 1 if labels is None else len(labels)

    def arrange(self, logits: Tensor, mask_BT: Tensor | None, choices_BC: Tensor | None) -> Tensor:
        """What a head says, made into what a loss and an answer take."""
        return logits

    @abstractmethod
    def losses(self, logits: Tensor, labels: Tensor, scale: float) -> Tensor:
        """The loss of each example (B,)."""

    def points(self, said: Any, right: Any) -> float:
        """How well one example is answered, in the words of predictions: the more the better, 1 for right."""
        return float(said == right)

    @abstractmethod
    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """A metric of resamples of these answers, in the words of predictions; see `tasks/weighted.py`."""

    def parts(self, encoded: Encoded, labels: Sequence[str] | None) -> Parts:
        """What of these examples is worth telling apart: classes, tags, the answer and the rest; none here."""
        from fusion_pipeline.tasks.parts import by_number

        return by_number((), encoded.labels)

    def distances(
        self, said: Tensor, logits: Tensor, labels: Tensor, temperature: float, scale: float
    ) -> Tensor:
        """How far each example's logits (B, …) are from a teacher's, flat (B, W): (B,). For types that can `teach`."""
        raise NotImplementedError(self.name)


class RowType(TaskType):
    """A type that reads its own rows and makes its own answers: all but classification and regression.

    lists: the fields that hold lists, with "label" for its own label. optional: the fields whose columns a table may
    not have, unless it is said to.
    """

    lists: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()

    def absent(self, columns: Mapping[str, str], there: Collection[str]) -> set[str]:
        """The optional fields that a table does not have under their usual names."""
        return {f for f in self.optional if columns[f] == f and f not in there}

    def open(self, row: Mapping[str, Any], columns: Mapping[str, str], cells: Cells) -> Mapping[str, Any]:
        """The row with lists where a plain table spells them as text; ValueError says what cannot be read."""
        spelled = [columns[f] for f in self.lists if f in columns and isinstance(row.get(columns[f]), str)]
        return {**row, **{name: list_cell(row[name], name, cells.separator) for name in spelled}}

    def open_label(self, row: Mapping[str, Any], columns: Mapping[str, str], label: str, cells: Cells) -> Any:
        """The row's label, a list or record where a plain table spells it as text."""
        value = row.get(label)
        return list_cell(value, label, cells.separator) if "label" in self.lists else value

    @abstractmethod
    def read(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """The checked fields of a row but its label; ValueError says what is wrong ('has no tokens')."""

    @abstractmethod
    def read_label(self, value: Any, inputs: Row, index: Mapping[Label, int]) -> Any:
        """The checked label; ValueError says what is wrong."""

    @abstractmethod
    def given(self, item: Any) -> Row:
        """The row of what a person hands to `predict`; ValueError says what it should be."""

    def asked(self, text: str, second: str | None, choices: Sequence[str]) -> Any:
        """What text=, text_pair= and choices= of a command line give to `given`; ValueError says what is too much."""
        if choices:
            raise ValueError("is not asked with choices=")
        if second is not None and len(self.fields) == 1:
            raise ValueError("is one, and text_pair= is a second one")
        return text if second is None else (text, second)

    def shown(self, answer: Answer, row: Mapping[str, Any]) -> str:
        """An answer as a person reads it."""
        listed = ", ".join(f"{name} {p:.3f}" for name, p in (answer.probabilities or {}).items())
        return f"{answer.prediction}  ({listed})" if listed else str(answer.prediction)

    @abstractmethod
    def encode(self, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
        """Fields of `Encoded`; rows without a label get one that counts for nothing."""

    @abstractmethod
    def crop(self, flat: np.ndarray, encoded: Encoded, index: int, width: int) -> np.ndarray:
        """One example's logits out of a flat row (W,) that may be padded at its end."""

    @abstractmethod
    def answer(
        self, logits: np.ndarray, labels: tuple[str, ...] | None, encoded: Encoded, index: int
    ) -> Answer:
        """What cropped logits say of an example."""

    @abstractmethod
    def said(self, label: Any, labels: tuple[str, ...] | None, row: Mapping[str, Any]) -> Any:
        """A row's label in the words of an answer's prediction."""

    @abstractmethod
    def score(
        self, answers: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> dict[str, float]:
        """All metrics worth reporting of predictions, given what is right."""

    def weighted(
        self, metric: str, said: Sequence[Any], right: Sequence[Any], labels: tuple[str, ...] | None
    ) -> Weighted:
        """Sample by sample through `score`; a type that knows sums behind its metrics is much faster."""
        from fusion_pipeline.tasks.weighted import of_repeats

        def score(rows: Sequence[int]) -> float:
            return self.score([said[i] for i in rows], [right[i] for i in rows], labels)[metric]

        return of_repeats(score)

    def notes(self, encoded: Encoded) -> tuple[str, ...]:
        """What a person should know of the tokens, such as what was cut off."""
        return ()
