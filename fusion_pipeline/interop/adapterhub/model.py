"""A whole model from AdapterHub's folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_pipeline.backbone import BackboneSpec
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.adapterhub.files import LAYOUTS
from fusion_pipeline.interop.adapterhub.loading import fused_names, load_adapter, load_fusion, load_head
from fusion_pipeline.model import AdaptedModel


def from_adapterhub(
    base: str | Path | BackboneSpec,
    adapters: Sequence[str | Path],
    *,
    fusion: str | Path | None = None,
    head: str | Path | None = None,
) -> AdaptedModel:
    """See `AdaptedModel.from_adapterhub`."""
    if fusion is None and len(adapters) > 1:
        raise PipelineError(f"{len(adapters)} adapters need a fusion", hint="fusion=FOLDER")
    model = AdaptedModel.from_backbone(base)
    names = [load_adapter(model, Path(folder)) for folder in adapters]
    fused = None
    if fusion is not None:
        names = _in_order(names, fused_names(Path(fusion)), str(fusion))
        fused, _ = load_fusion(model, Path(fusion), names)
    if head is None and len(adapters) == 1 and (Path(adapters[0]) / LAYOUTS["head"].config).is_file():
        head = adapters[0]
    active = None if head is None else load_head(model, Path(head))
    model.set_active(names or None, fusion=fused, head=active)
    model.requires_grad_(False)
    return model.eval()


def _in_order(given: Sequence[str], wanted: Sequence[str], where: str) -> list[str]:
    """The adapters in the fusion's own order; others than its own are refused."""
    if sorted(given) != sorted(wanted):
        raise PipelineError(
            f"the fusion is made of {', '.join(wanted)}, and the adapters here are {', '.join(given)}",
            where=where,
        )
    return list(wanted)
