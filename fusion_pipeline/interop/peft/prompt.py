"""Prompt tuning: `prompt_embeddings` ↔ `input.0.tokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fusion_pipeline import registry
from fusion_pipeline.adapters.prompt import PromptSpec
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.sites import input as prompted

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

KEY = "prompt_embeddings"
_OURS = f"{prompted.KEY}.tokens"


def read(tensors: Mapping[str, Tensor], where: str) -> tuple[PromptSpec, dict[str, Tensor]]:
    """Our settings and weights."""
    if set(tensors) != {KEY} or tensors[KEY].dim() != 2:
        raise PipelineError(
            f"a prompt has the one matrix {KEY}, and here is: {', '.join(tensors)}", where=where
        )
    spec: PromptSpec = registry.build("adapter", "prompt", length=len(tensors[KEY]))
    return spec, {_OURS: tensors[KEY]}


def write(model: AdaptedModel, part: PerSite) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """PEFT's settings and weights of a prompt."""
    tokens = part.state_dict()[_OURS]
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": tokens.shape[0],
        "token_dim": tokens.shape[1],
        "num_transformer_submodules": 1,
        "num_attention_heads": model.config.num_attention_heads,
        "num_layers": model.config.num_hidden_layers,
        "prompt_tuning_init": "RANDOM",
    }
    return config, {KEY: tokens}
