"""Predictions for new texts, with what each token listened to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import Head
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import head_type
from fusion_pipeline.training.batches import Collator
from fusion_pipeline.training.encoding import Encoded, encode_rows, encode_texts


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One text's answer.

    `label` and `probabilities` for classification, `value` for regression, `answer` for the other types: a tag
    for each word, the choice, the labels, or the span. `fusion_weights` is
    {site: array (tokens, adapters)} over `adapters`, with `tokens` in order, where it was asked for.
    """

    label: str | None = None
    probabilities: dict[str, float] | None = None
    value: float | None = None
    answer: Any = None
    tokens: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    fusion_weights: dict[str, np.ndarray] = field(default_factory=dict)


def predict(
    model: AdaptedModel,
    texts: Sequence[Any],
    *,
    task: str | None = None,
    adapters: Sequence[str] | None = None,
    fusion_weights: bool = False,
    batch_size: int = 64,
) -> list[Prediction]:
    """Predicts in evaluation mode and puts the model back as it was.

    Args:
        model: With an active head, or name one with `task`.
        texts: Texts, or (text, second text) pairs; not both kinds at once. What the task's type reads where it is
            another: lists of words, (context, question, choices), (context, question).
        task: Whose head answers.
        adapters: A subset of the active fusion's adapters, for these predictions only.
        fusion_weights: Whether to return the weights of every layer, token and adapter.
        batch_size: Texts at once; they are sorted by length.
    """
    if not len(texts):
        return []
    encoded = _encode_for(model, task, texts)
    before = (model.active_adapters, model.active_fusion, model.active_head, model.training)
    try:
        if adapters is not None:
            model.set_active(list(adapters), fusion=model.active_fusion)
        model.eval()
        return _predict(model, encoded, task, fusion_weights, batch_size)
    finally:
        if adapters is not None:
            model.set_active(before[0] or None, fusion=before[1], head=before[2])
        model.train(before[3])


def model_inputs(model: AdaptedModel, texts: Sequence[Any], *, task: str | None = None) -> dict[str, Any]:
    """One batch of these texts as the model's forward takes it, on the model's device; texts as for `predict`."""
    encoded = _encode_for(model, task, texts)
    return {**_inputs(model, encoded, range(len(encoded))), "task": _head_name(model, task)}


def _encode_for(model: AdaptedModel, task: str | None, texts: Sequence[Any]) -> Encoded:
    name = task if task is not None else model.active_head
    kind = None if name is None else head_type(model.head_spec(name).type)
    if not isinstance(kind, RowType):
        return _encode(model, texts)
    try:
        return encode_rows([kind.given(item) for item in texts], kind, model.info)
    except ValueError as error:
        raise PipelineError(f"an example {error}", where="texts") from None


def _encode(model: AdaptedModel, texts: Sequence[str | tuple[str, str]]) -> Encoded:
    if isinstance(texts, str):
        raise PipelineError(
            "predict takes a list of texts, and got one text", where="texts", hint='predict(["a text"])'
        )
    if all(isinstance(text, str) for text in texts):
        return encode_texts([str(text) for text in texts], None, model.info)
    if not all(isinstance(text, tuple | list) and len(text) == 2 for text in texts):
        raise PipelineError(
            "texts must be all texts or all pairs of texts",
            where="texts",
            hint='["a text", ...] or [("first", "second"), ...]',
        )
    return encode_texts([text[0] for text in texts], [text[1] for text in texts], model.info)


@torch.no_grad()
def _predict(
    model: AdaptedModel, encoded: Encoded, task: str | None, weights: bool, batch_size: int
) -> list[Prediction]:
    head = model.heads[_head_name(model, task)]
    assert isinstance(head, Head)
    found: dict[int, Prediction] = {}
    order = np.argsort(-encoded.lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        rows = [int(i) for i in order[start : start + batch_size]]
        inputs = _inputs(model, encoded, rows)
        out = model(**inputs, task=_head_name(model, task), output_fusion_weights=weights)
        for position, index in enumerate(rows):
            extra = _listened(model, encoded, index, position, out.fusion_weights) if weights else {}
            found[index] = _prediction(head, out.logits[position], encoded, index, extra)
    return [found[index] for index in range(len(encoded))]


def _inputs(model: AdaptedModel, encoded: Encoded, rows: Sequence[int]) -> dict[str, Tensor]:
    collate = Collator(pad_id=getattr(model.info.tokenizer, "pad_token_id", None) or 0)
    batch = collate([{**encoded.example(i), "task": "", "task_ids": 0, "example_ids": i} for i in rows])
    device = next(model.parameters()).device
    return {key: value.to(device) for key, value in batch.items() if key in _INPUTS}


_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "choices")


def _prediction(
    head: Head, logits: Tensor, encoded: Encoded, index: int, extra: dict[str, Any]
) -> Prediction:
    kind = head_type(head.spec.type)
    if isinstance(kind, RowType):
        flat = logits.float().cpu().numpy().reshape(-1)
        cropped = kind.crop(flat, encoded, index, head.spec.outputs)
        said = kind.answer(cropped, head.spec.labels, encoded, index)
        return Prediction(answer=said.prediction, probabilities=said.probabilities, **extra)
    if head.spec.labels is None:
        return Prediction(value=float(logits[0]), **extra)
    probabilities = torch.softmax(logits.double(), dim=-1).tolist()
    named = dict(zip(head.spec.labels, probabilities, strict=True))
    return Prediction(label=max(named, key=named.__getitem__), probabilities=named, **extra)


def _listened(
    model: AdaptedModel, encoded: Encoded, index: int, position: int, weights: dict[str, Tensor]
) -> dict[str, Any]:
    if encoded.groups is not None:
        # Its sequences would each have weights of their own.
        return {}
    ids = encoded.example(index)["input_ids"]
    tokens = model.info.tokenizer.convert_ids_to_tokens(ids.tolist()) if model.info.tokenizer else ()
    cut = {site: value[position, : len(ids)].float().cpu().numpy() for site, value in weights.items()}
    return {"tokens": tuple(tokens), "adapters": model.fusing, "fusion_weights": cut}


def _head_name(model: AdaptedModel, task: str | None) -> str:
    name = task if task is not None else model.active_head
    if name is None:
        raise PipelineError("no head is active", hint="name one: predict(..., task=NAME)")
    return name
