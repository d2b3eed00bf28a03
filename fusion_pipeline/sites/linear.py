"""The widths of a linear, in the two forms that transformers has."""

from __future__ import annotations

from torch import nn

from fusion_pipeline.errors import PipelineError


def widths(module: nn.Module, where: str) -> tuple[int, int]:
    """(D_in, D_out) of `nn.Linear`, or of transformers' `Conv1D` (GPT-2), whose weight is (D_in, D_out)."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if hasattr(module, "nf") and hasattr(module, "weight"):
        weight = module.get_parameter("weight")
        return weight.shape[0], weight.shape[1]
    raise PipelineError(f"{type(module).__name__} is no linear whose widths are known", where=where)
