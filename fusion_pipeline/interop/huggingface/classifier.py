"""A backbone with one head as transformers' model for sequence classification, where that is the same function."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fusion_pipeline.heads import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fusion_pipeline.model import AdaptedModel

_TYPES = ("classification", "regression")


def as_classifier(model: AdaptedModel, name: str) -> PreTrainedModel | None:
    """transformers' classifier of the same family with the same logits; None where its head is another function.

    Where a family's table says what its own head looks like, and the head here has this form and reads what that
    one reads. The values of a regression come in the target's unit.
    """
    head, facts = model.heads[name], (model.table.adapterhub or {}).get("head")
    assert isinstance(head, Head)
    if facts is None or not _fits(model, head, facts):
        return None
    from transformers import AutoModelForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        whole: PreTrainedModel = AutoModelForSequenceClassification.from_config(_config(model, head))
    base = getattr(whole, whole.base_model_prefix)
    base.load_state_dict(model.backbone.state_dict(), strict=False)
    if head.dense is not None:
        owner, path = (base, "base_dense") if "base_dense" in facts else (whole, "dense")
        _copy(owner.get_submodule(facts[path]), head.dense.weight, head.dense.bias)
    # What our head does to a regression's logits is part of the last linear there.
    _copy(
        whole.get_submodule(facts["out"]),
        head.out.weight * head.spec.scale,
        None if head.out.bias is None else head.out.bias * head.spec.scale + head.spec.shift,
    )
    return whole.to(next(model.backbone.parameters()).dtype).eval()


def _fits(model: AdaptedModel, head: Head, facts: dict[str, Any]) -> bool:
    spec = head.spec
    dense = "dense" in facts or "base_dense" in facts
    return (
        spec.type in _TYPES
        and model.info.pooling == model.table.pooling == "first"
        and (spec.layers == 2) == dense
        and (not dense or spec.activation == facts["activation"])
        and spec.bias == bool(facts.get("bias", True))
    )


def _config(model: AdaptedModel, head: Head) -> Any:
    config, labels = deepcopy(model.config), head.spec.labels or ("value",)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "regression" if head.spec.labels is None else "single_label_classification"
    return config


@torch.no_grad()
def _copy(place: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    place.weight.copy_(weight)  # type: ignore[operator]
    if bias is not None:
        place.bias.copy_(bias)  # type: ignore[operator]
