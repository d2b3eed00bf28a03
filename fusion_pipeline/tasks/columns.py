"""Which columns of one's own data hold what."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.cells import Cells
from fusion_pipeline.tasks.class_names import check_labels, name_tuple
from fusion_pipeline.tasks.task_types import CLASSIFICATION, check_type

_SINGLE = ("text", "text_pair", "label", "context", "question", "tokens", "answer", "answer_start")


@dataclass(frozen=True, kw_only=True)
class ColumnsSpec:
    """Which columns of one's own data hold what; everything is optional.

    Args:
        text: Column of the text (default 'text').
        text_pair: Column of the second text.
        label: Column of the label (default 'label').
        type: A name of `tasks/types/`; classification or regression is inferred from the labels.
        labels: Class names in order; numbers are taken as words.
        context: Column of what is asked about (multiple_choice, span_qa), likewise `question`.
        tokens: Column of the words (token_classification).
        choices: Column of the lists of choices, or the columns that hold one choice each (multiple_choice).
        answer: Column of the answer's text and `answer_start` of where it begins, in place of a record (span_qa).
        separator: What stands between the items of a list that is one text; without it, such texts are JSON.
        validation: File with the validation rows.
        test: File with the test rows.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    type: str | None = None
    labels: tuple[str | int | float | bool, ...] | None = None
    validation: str | None = None
    test: str | None = None
    context: str | None = None
    question: str | None = None
    tokens: str | None = None
    choices: str | tuple[str, ...] | None = None
    answer: str | None = None
    answer_start: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("labels", "choices") and value is not None and not _is_name(value):
                raise PipelineError(f"{value!r} is not a name", where=f"columns.{field.name}")
        if self.type is not None:
            check_type(self.type, "columns.type")
        names = name_tuple(self.labels, "columns.labels")
        object.__setattr__(self, "labels", names)
        if names is not None:
            check_labels(names, self.type or CLASSIFICATION, "columns.labels")
        self._check_choices()
        self._check_distinct()

    @property
    def cells(self) -> Cells:
        """How lists and records are spelled."""
        spread = self.choices if isinstance(self.choices, tuple) else ()
        return Cells(
            separator=self.separator, choices=spread, answer=self.answer, answer_start=self.answer_start
        )

    @property
    def named(self) -> tuple[str, ...]:
        """Every column that is named."""
        one = (*(getattr(self, key) for key in _SINGLE), *self.cells.choices)
        return tuple(column for column in (*one, self.choices) if isinstance(column, str))

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are set."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def _check_choices(self) -> None:
        if isinstance(self.choices, list):
            object.__setattr__(self, "choices", tuple(self.choices))
        spread = self.choices if isinstance(self.choices, tuple) else ()
        single = self.choices is None or _is_name(self.choices)
        if not single and (len(spread) < 2 or not all(map(_is_name, spread))):
            raise PipelineError(
                f"{self.choices!r} is neither a column of lists nor a list of columns",
                where="columns.choices",
                hint="columns.choices=[a,b,c], a column for each choice",
            )
        if self.answer_start is not None and self.answer is None:
            raise PipelineError(
                "where which answer starts?", where="columns.answer", hint="columns.answer=COLUMN"
            )

    def _check_distinct(self) -> None:
        named = list(self.named)
        if not (self.context or self.question or self.tokens or self.choices):
            # The usual names of a text and its label, where no other ones are said.
            named += ["text"] * (self.text is None) + ["label"] * (self.label is None)
        if len(set(named)) < len(named):
            raise PipelineError(
                f"one column cannot be two things at once: {', '.join(named)}", where="columns"
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
