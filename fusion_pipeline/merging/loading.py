"""A merge straight into a model in memory, nothing written: for looking at many merges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.formats.native.layout import layout_of
from fusion_pipeline.store import load_strict

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.model import AdaptedModel


def load_merge(model: AdaptedModel, plan: Plan, name: str) -> None:
    """Adds the merged adapter to a model under a name; one of that name with the same settings gets the new weights.

    Raises `PipelineError` where the inputs belong to another backbone or have modules that this one has not.
    """
    described = model.info.describe()
    for source in plan.sources:
        if source.base.fingerprint not in (None, described["fingerprint"]):
            raise PipelineError(f"'{source.name}' was trained on another backbone", where=str(source.folder))
    state: dict[str, Tensor] = {}
    spec = layout_of(plan, described).fill(plan, plan.merged(), state.__setitem__)
    if name in model.adapters and getattr(model.adapters[name], "spec", None) != spec:
        model.adapters.drop(name)
    if name not in model.adapters:
        model.add_adapter(name, spec)
    load_strict(model.adapters[name], state, where=name)
