"""What a column of labels means: the task's type, its classes, and each label's class number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.tasks.labels import Label, is_finite, label_text, read_label
from fusion_pipeline.tasks.task_types import CLASSIFICATION, REGRESSION

# More whole numbers than this are as likely a count or a price as a class: the person has to say.
MOST_WHOLE_NUMBERS = 20
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LabelPlan:
    """How labels become class numbers (or stay numbers, in regression)."""

    type: str
    names: tuple[str, ...] | None
    index: Mapping[Label, int] = field(repr=False)
    bounds: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def encode(self, label: Label) -> int | float:
        """The class number or the score; ValueError says why a label has none."""
        if self.type == CLASSIFICATION:
            return self._class_number(label)
        if isinstance(label, str):
            raise ValueError(f"has the label '{label}', which is not a number")
        if not is_finite(label):
            raise ValueError(f"has the label {label}, which is not a finite number")
        if self.bounds and not self.bounds[0] <= label <= self.bounds[1]:
            raise ValueError(
                f"has the label {label}, out of the range {self.bounds[0]:g} to {self.bounds[1]:g}"
            )
        return float(label)

    def _class_number(self, label: Label) -> int:
        number = self.index.get(label)
        if number is not None:
            return number
        names = self.names or ()
        if isinstance(label, int) and 0 in self.index and not _numeric(names):
            raise ValueError(f"has the label {label}, out of the range 0 to {len(names) - 1}")
        if isinstance(label, str):
            raise ValueError(f"has the label '{label}': {did_you_mean(label, names[:50])}")
        raise ValueError(f"has the label {label}, not one of: {', '.join(names[:50])}")


def plan_labels(
    seen: Mapping[Label, str],
    *,
    rows: int,
    column: str,
    type_: str | None,
    names: Sequence[str] | None,
    numbered: bool,
    bounds: tuple[float, float] | None,
) -> LabelPlan:
    """Decides type and classes from the labels of train.

    Args:
        seen: Each distinct label with the place of its first row.
        rows: Number of rows, to tell classes from free text.
        column: Name of the label column, for messages.
        type_: The type, where it is known.
        names: The class names, where they are known.
        numbered: Whether numbers (positions in `names`) and names may stand side by side (dataset.json).
        bounds: Allowed range of a regression label.
    """
    if type_ == REGRESSION:
        return LabelPlan(type=REGRESSION, names=None, index={}, bounds=bounds)
    if names is not None:
        return LabelPlan(type=CLASSIFICATION, names=tuple(names), index=_index(seen, names, numbered))
    if type_ is None and _is_regression(seen, column):
        note = f"type: regression (column '{column}' holds fractions)"
        return LabelPlan(type=REGRESSION, names=None, index={}, bounds=bounds, notes=(note,))
    return _inferred_classes(seen, rows, column, type_)


def label_index(names: Sequence[str]) -> dict[Label, int]:
    """The number of each name; positions stand beside the names unless these are numbers themselves."""
    return _index((), names, numbered=True)


def _index(seen: Iterable[Label], names: Sequence[str], numbered: bool) -> dict[Label, int]:
    by_name: dict[Label, int] = {read_label(name): number for number, name in enumerate(names)}
    by_number: dict[Label, int] = {number: number for number in range(len(names))}
    if _numeric(names):
        # With names like [1,2,3], a 1 is the name and never the position: 0 beside them is then an error.
        return by_name
    if numbered:
        return {**by_name, **by_number}
    return by_number if all(isinstance(label, int) for label in seen) else by_name


def _numeric(names: Iterable[str]) -> bool:
    return any(not isinstance(read_label(name), str) for name in names)


def _is_regression(seen: Mapping[Label, str], column: str) -> bool:
    words, numbers = _sorted_by_kind(seen)
    if words and numbers:
        listed = ",".join(label_text(label) for label in list(seen)[:8])
        raise PipelineError(
            f"column '{column}' mixes numbers and words: {_examples(numbers)} beside {_examples(words)}",
            where=f"{seen[words[0]]} has {words[0]!r}, {seen[numbers[0]]} has {numbers[0]!r}",
            hint=f"correct it, or list every class: columns.labels=[{listed},...]",
        )
    return any(not isinstance(number, int) for number in numbers)


def _inferred_classes(seen: Mapping[Label, str], rows: int, column: str, type_: str | None) -> LabelPlan:
    _is_regression(seen, column)  # refuses numbers mixed with words whatever columns.type says
    words, numbers = _sorted_by_kind(seen)
    labels: list[Label] = [*sorted(numbers, key=float), *sorted(map(str, words))]
    _check_classes(labels, seen, column)
    if type_ is None:
        _check_count(labels, rows, column)
    names = tuple(label_text(label) for label in labels)
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    note = f"classes: {shown} ({len(names)}, sorted)"
    if type_ is None and numbers and len(names) > 2:
        note += "; columns.type=regression would read them as scores"
    index = {label: number for number, label in enumerate(labels)}
    return LabelPlan(type=CLASSIFICATION, names=names, index=index, notes=(note,))


def _check_classes(labels: Sequence[Label], seen: Mapping[Label, str], column: str) -> None:
    fraction = next((label for label in labels if isinstance(label, float)), None)
    if fraction is not None:
        raise PipelineError(
            f"column '{column}' holds fractions such as {fraction}, which are no classes",
            where=seen[fraction],
            hint="columns.type=regression, or list the classes in columns.labels",
        )
    if len(labels) < 2:
        raise PipelineError(
            f"column '{column}' holds one single class ({label_text(labels[0])})",
            where=seen[labels[0]],
            hint="name another column in columns.label",
        )
    folded: dict[str, Label] = {}
    for label in labels:
        other = folded.setdefault(str(label).casefold(), label)
        if other != label:
            raise PipelineError(
                f"column '{column}' holds both '{other}' and '{label}': one class or two?",
                where=f"{seen[other]} and {seen[label]}",
                hint="write them alike, or list all classes in columns.labels",
            )


def _check_count(labels: Sequence[Label], rows: int, column: str) -> None:
    if len(labels) <= MOST_WHOLE_NUMBERS:
        return
    if isinstance(labels[0], int):
        raise PipelineError(
            f"column '{column}' holds {len(labels)} distinct whole numbers: classes or scores?",
            where=f"columns.label={column}",
            hint="columns.type=classification or columns.type=regression",
        )
    if len(labels) * 2 > rows:
        raise PipelineError(
            f"column '{column}' holds {len(labels)} distinct words in {rows} rows: that is hardly a label",
            where=f"columns.label={column}",
            hint="name another column in columns.label, or say columns.type=classification",
        )


def _sorted_by_kind(seen: Iterable[Label]) -> tuple[list[str], list[int | float]]:
    words = [label for label in seen if isinstance(label, str)]
    return words, [label for label in seen if not isinstance(label, str)]


def _examples(labels: Sequence[Label]) -> str:
    return ", ".join(repr(label) for label in labels[:3])
