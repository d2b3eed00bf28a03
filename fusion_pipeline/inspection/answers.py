"""Examples, labels and answers in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.prediction import Prediction
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.encoding import Encoded, encode_rows, encode_texts
from fusion_pipeline.training.scoring import TaskOutputs


def answers_of(outputs: TaskOutputs) -> dict[int, str]:
    """{example: what the model says of it}."""
    if isinstance(task_type(outputs.spec.type), RowType):
        said = [_words(answer.prediction) for answer in outputs.answers()]
    elif outputs.spec.labels is None:
        said = [f"{value:.3g}" for value in outputs.predictions()]
    else:
        chances = outputs.probabilities()
        assert chances is not None
        said = [f"{outputs.spec.labels[row.argmax()]} ({row.max():.2f})" for row in chances]
    return dict(zip((int(i) for i in outputs.ids), said, strict=True))


def example_json(task: TaskSpec, encoded: Encoded, row: int, answers: Mapping[int, str]) -> dict[str, Any]:
    """An example's inputs, label and answer."""
    fields = encoded.rows[row]
    inputs = [_words(value) for key, value in fields.items() if key != "label"]
    return {"inputs": inputs, "label": label_words(task, fields), "said": answers[row]}


def label_words(task: TaskSpec, row: Mapping[str, Any]) -> str:
    """A row's label by name."""
    kind, label = task_type(task.type), row["label"]
    if isinstance(kind, RowType):
        return _words(kind.said(label, task.labels, row))
    return f"{label:.3g}" if task.labels is None else task.labels[int(label)]


def encode_given(model: AdaptedModel, head: TaskSpec, items: Sequence[Any]) -> Encoded:
    """Texts from the command line as tokens."""
    kind = task_type(head.type)
    if isinstance(kind, RowType):
        found = encode_rows([kind.given(item) for item in items], kind, model.info)
    elif head.has_pair:
        found = encode_texts([item[0] for item in items], [item[1] for item in items], model.info)
    else:
        found = encode_texts(list(items), None, model.info)
    return _named(found, head.name)


def asked(model: AdaptedModel, head: str, items: Sequence[Any]) -> list[str]:
    """What a head says of texts."""
    return [_answer(one) for one in model.predict(items, task=head)]


def _answer(one: Prediction) -> str:
    if one.answer is not None:
        return _words(one.answer)
    if one.label is None or one.probabilities is None:
        return f"{one.value:.3g}"
    return f"{one.label} ({one.probabilities[one.label]:.2f})"


def _named(encoded: Encoded, task: str) -> Encoded:
    return replace(encoded, task=task)


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return " · ".join(value)
    return json.dumps(value, ensure_ascii=False)
