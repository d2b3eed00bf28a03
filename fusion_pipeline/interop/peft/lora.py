"""LoRA: `base_model.model.<path>.lora_A.weight` ↔ `query.3.down`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusion_pipeline import registry
from fusion_pipeline.adapters.lora import LoraSpec
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.peft.matrices import STEM, Pair, pairs_of, paths_of

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel


def read(
    model: AdaptedModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> tuple[LoraSpec, dict[str, Tensor], list[str]]:
    """Our settings, our weights, and notes."""
    pairs = pairs_of(model, config, tensors, where)
    rank = max(pair.down.shape[0] for pair in pairs.values())
    spec = _spec(model, config, pairs, rank, where)
    state = {}
    for key, pair in pairs.items():
        missing = rank - pair.down.shape[0]
        state[f"{key}.down"] = torch.nn.functional.pad(pair.down, (0, 0, 0, missing))
        up = pair.up if pair.scale == spec.scale else pair.up * (pair.scale / spec.scale)
        state[f"{key}.up"] = torch.nn.functional.pad(up, (0, missing))
    even = all(p.down.shape[0] == rank and p.scale == spec.scale for p in pairs.values())
    note = f"ranks or scales differ between linears: all have rank {rank} here, filled up with zeros"
    return spec, state, [] if even else [note]


def write(model: AdaptedModel, part: PerSite) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """PEFT's settings and weights of a LoRA, for the bare `AutoModel`."""
    spec = part.spec
    assert isinstance(spec, LoraSpec)
    modules = dict(part.items())
    sites = {key: path for path, key in paths_of(model).items() if key in modules}
    state = part.state_dict()
    tensors = {}
    for key, path in sites.items():
        tensors[f"{STEM}{path}.lora_A.weight"] = state[f"{key}.down"]
        tensors[f"{STEM}{path}.lora_B.weight"] = state[f"{key}.up"]
    conv = any(hasattr(model.backbone.get_submodule(path), "nf") for path in sites.values())
    config = {
        "peft_type": "LORA",
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "use_rslora": spec.rslora,
        # Whole paths: `output.dense` alone would be the attention's and the feed-forward's.
        "target_modules": sorted(sites.values()),
        "fan_in_fan_out": conv,
        "bias": "none",
    }
    return config, tensors


def _spec(
    model: AdaptedModel, config: Mapping[str, Any], pairs: Mapping[str, Pair], rank: int, where: str
) -> LoraSpec:
    keys = [key.split(".") for key in pairs]
    rows = tuple(row for row in model.table.linears if row in {row for row, _ in keys})
    layers = {int(layer) for _, layer in keys}
    missing = [f"{row}.{layer}" for row in rows for layer in sorted(layers) if f"{row}.{layer}" not in pairs]
    if missing:
        raise PipelineError(
            f"some layers have other targets than others: nothing at {', '.join(missing)}", where=where
        )
    every = range(len(model.table.layer_list(model.backbone)))
    spec: LoraSpec = registry.build(
        "adapter",
        "lora",
        targets=list(rows),
        rank=rank,
        alpha=float(config.get("lora_alpha", 8)),
        rslora=bool(config.get("use_rslora")),
        dropout=float(config.get("lora_dropout", 0.0)),
        skip_layers=[layer for layer in every if layer not in layers],
    )
    return spec
