"""The head under which adapters are judged on a task: fitted to the task, the inputs' mean, or one input's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import Head, HeadSettings, HeadSpec

if TYPE_CHECKING:
    from fusion_pipeline.merging.source import Source
    from fusion_pipeline.tasks.data import TaskData

HEADS = "heads.safetensors"
# 1 / strength of the L2 penalty on standardised features; a few hundred of them meet as few examples.
_C = 0.1


def own_head(source: Source, data: TaskData, hidden: int) -> Head | None:
    """The input's head that answers the task: the same type and the same classes, put into the task's order."""
    if source.format != "native":
        return None
    for name, values in read_model(source.folder)["heads"].items():
        spec = HeadSpec(**values)
        if spec.type != data.spec.type or set(spec.labels or ()) != set(data.spec.labels or ()):
            continue
        tensors = store.load_tensors(source.folder / HEADS)
        head = Head(spec, hidden)
        own = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
        store.load_strict(head, own, where=str(source.folder / HEADS))
        return _reordered(head, data.spec.labels)
    return None


def mean_head(heads: Sequence[Head], weights: Sequence[float]) -> Head:
    """Every parameter's weighted mean; the weights are divided by their sum, or equal where that is zero."""
    total = sum(weights)
    shares = [w / total for w in weights] if abs(total) > 1e-9 else [1 / len(weights)] * len(weights)
    found = Head(heads[0].spec, heads[0].out.in_features)
    states = [head.state_dict() for head in heads]
    found.load_state_dict(
        {key: sum(w * s[key] for w, s in zip(shares, states, strict=True)) for key in states[0]}
    )
    return found.eval()


def alike(heads: Sequence[Head | None]) -> bool:
    """Whether all are there, of the same make, so that a mean of them is a head."""
    specs = [replace(head.spec, dropout=0.0) for head in heads if head is not None]
    return len(specs) == len(heads) and len(set(specs)) == 1


def fitted_head(features: np.ndarray, data: TaskData) -> Head:
    """One linear layer, fitted to the train split's features (n, D) and nothing else; the same each time.

    Logistic regression with an L2 penalty (C = 0.1), or ridge regression, on standardised features; the
    standardising is folded into the layer, so that it is a head like any other. Convex: no seed, no learning rate.
    """
    labels = np.array([row["label"] for row in data.splits["train"]])
    centre, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 1e-8, spread, 1.0)
    weight, bias, target = _linear((features - centre) / spread, labels, data)
    settings = HeadSettings(layers=1, dropout=0.0)
    spec = settings.for_task(data.spec.type, data.spec.labels, **target)
    head = Head(spec, features.shape[1])
    weight = weight / spread
    with torch.no_grad():
        head.out.weight.copy_(torch.from_numpy(weight))
        head.out.bias.copy_(torch.from_numpy(bias - weight @ centre))
    return head.eval()


def _linear(
    x: np.ndarray, labels: np.ndarray, data: TaskData
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    from sklearn.linear_model import LogisticRegression, Ridge

    if data.spec.labels is None:
        shift, scale = float(labels.mean()), float(labels.std()) or 1.0
        fitted = Ridge(alpha=1 / _C).fit(x, (labels - shift) / scale)
        return fitted.coef_[None], np.array([fitted.intercept_]), {"shift": shift, "scale": scale}
    missing = [name for number, name in enumerate(data.spec.labels) if not (labels == number).any()]
    if missing:
        raise PipelineError(
            f"no example of train is {', '.join(missing)}: no head can be fitted",
            where="head_from",
            hint="more data.max_train, or head_from=NAME of an input with a head for the task",
        )
    fitted = LogisticRegression(C=_C, max_iter=1000).fit(x, labels.astype(int))
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:
        # Two classes: one score z, whose two logits are −z/2 and z/2.
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias, {}


def _reordered(head: Head, labels: tuple[str, ...] | None) -> Head:
    if labels is not None and head.spec.labels != labels:
        assert head.spec.labels is not None
        order = [head.spec.labels.index(label) for label in labels]
        with torch.no_grad():
            for parameter in head.out.parameters():
                parameter.copy_(parameter[order].clone())
        head.spec = replace(head.spec, labels=labels)
    return head.eval()
