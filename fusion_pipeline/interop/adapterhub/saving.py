"""Writes an `AdaptedModel`'s adapter or fusion as AdapterHub's `adapters` reads it, heads included.

Weights go out twice, as safetensors and as the torch file that the library opens by default.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import Head
from fusion_pipeline.interop.adapterhub import adapter_config, fusion_config, head_config
from fusion_pipeline.interop.adapterhub.files import LAYOUTS, SETUP, VERSION, write_object
from fusion_pipeline.interop.adapterhub.keys import KeyMap
from fusion_pipeline.interop.adapterhub.loading import is_parallel
from fusion_pipeline.interop.reading import write_json

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel


def save_model(model: AdaptedModel, folder: Path) -> list[str]:
    """Writes what is active: one adapter or a head into `folder`, a fusion as a set-up of folders; returns notes."""
    heads, notes = _portable_heads(model)
    if model.active_fusion is None and len(heads) > 1:
        raise PipelineError(
            f"AdapterHub's format has a place for one head beside an adapter, and here are {', '.join(heads)}",
            where="task",
            hint=f"say which to write: task={heads[0]}",
        )
    if not model.active_adapters:
        if not heads:
            raise PipelineError("; ".join(["there is no adapter to write", *notes]), where="run")
        save_head(model, heads[0], folder)
        return notes
    if model.active_fusion is None:
        (name,) = model.active_adapters
        save_adapter(model, name, folder)
        for head in heads:
            save_head(model, head, folder)
        return notes
    for name in model.active_adapters:
        save_adapter(model, name, folder / their_name(name))
    fused = save_fusion(model, folder)
    for head in heads:
        save_head(model, head, folder / their_name(head))
    write_json(folder / SETUP, _setup(fused.split(","), [their_name(head) for head in heads]))
    return notes


def save_adapter(model: AdaptedModel, name: str, folder: Path) -> None:
    """Writes one adapter."""
    part, keys = _part(model, model.adapters[name]), KeyMap(model)
    if not isinstance(part.spec, BottleneckSpec):
        raise PipelineError(f"AdapterHub's format has no place for the adapter '{name}'", where="format")
    width = {value.shape[0] for key, value in part.state_dict().items() if key.endswith("down.bias")}
    config = adapter_config.write_config(part.spec, width.pop(), model.config.hidden_size)
    wanted = keys.adapter(part.state_dict(), their_name(name))
    _write(model, folder, "adapter", their_name(name), {"config": config}, _renamed(part, wanted, keys))


def save_fusion(model: AdaptedModel, folder: Path) -> str:
    """Writes the active fusion into a folder of its name below `folder`; returns the name."""
    part, keys = _part(model, model.fusions[str(model.active_fusion)]), KeyMap(model)
    if not isinstance(part.spec, AdapterFusionSpec):
        raise PipelineError("AdapterHub knows no fusion but AdapterFusion", where="format")
    names = [their_name(name) for name in model.active_adapters]
    parallel = all(is_parallel(model, name) for name in model.active_adapters)
    content = {
        "adapter_names": names,
        "config": fusion_config.write_config(part.spec, parallel=parallel),
    }
    fused = ",".join(names)
    tensors = _renamed(part, keys.fusion(part.state_dict(), fused), keys)
    for key in [key for key in tensors if ".query." in key]:
        # softmax(Q·K / T) with Q / T in the weights: no file there holds a temperature.
        tensors[key] = tensors[key] / part.spec.temperature
    _write(model, folder / fused, "fusion", fused, content, tensors)
    return fused


def save_head(model: AdaptedModel, name: str, folder: Path) -> None:
    """Writes a head as a flexible head; a regression's unit goes into its last layer."""
    head = model.heads[name]
    assert isinstance(head, Head)
    last = 1 if head.dense is None else 4
    state = {key: value.detach().clone() for key, value in head.state_dict().items()}
    if head.spec.type == "regression":
        state["out.weight"] *= head.spec.scale
        state["out.bias"] = state["out.bias"] * head.spec.scale + head.spec.shift
    numbers = {"dense": 1, "out": last}
    stem = f"heads.{their_name(name)}"
    tensors = {
        f"{stem}.{numbers[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in state.items()
    }
    images = model.backbone.main_input_name == "pixel_values"
    content = {"config": head_config.write_head(head.spec, images=images)}
    _write(model, folder, "head", their_name(name), content, tensors)


def their_name(name: str) -> str:
    """A name that the library can use: torch refuses dots in module names, and commas join adapters."""
    return name.replace(".", "_").replace(",", "_")


def _portable_heads(model: AdaptedModel) -> tuple[list[str], list[str]]:
    """The heads that mean the same there, and a note on those that do not."""
    names, wanted = model.heads.names(), model.table.pooling
    if not names or model.info.pooling == wanted:
        return names, []
    said = f"heads left out: {', '.join(names)}. They read the pooling '{model.info.pooling}'"
    return [], [f"{said}, and AdapterHub's heads on {model.config.model_type} read '{wanted}'"]


def _renamed(part: nn.Module, wanted: dict[str, str], keys: KeyMap) -> dict[str, Tensor]:
    """Our tensors under their keys, with the base model's prefix."""
    stem = f"{keys.prefix}." if keys.prefix else ""
    return {f"{stem}{wanted[key]}": value.detach() for key, value in part.state_dict().items()}


def _write(
    model: AdaptedModel,
    folder: Path,
    kind: str,
    name: str,
    content: dict[str, Any],
    tensors: dict[str, Tensor],
) -> None:
    shared = {
        "hidden_size": model.config.hidden_size,
        "model_class": f"{type(model.backbone).__name__.removesuffix('Model')}AdapterModel",
        "model_name": model.info.name,
        "model_type": model.config.model_type,
        "name": name,
        "version": VERSION,
    }
    write_object(folder, kind, {**shared, **content}, tensors)
    plain = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    torch.save(plain, folder / LAYOUTS[kind].pickled)


def _setup(adapters: list[str], heads: list[str]) -> dict[str, Any]:
    children = [{"type": "single", "children": [name]} for name in adapters]
    return {
        "adapter_setup": {"type": "Fuse", "children": children},
        "head_setup": heads[0] if len(heads) == 1 else heads or None,
        "version": VERSION,
    }


def _part(model: AdaptedModel, module: nn.Module) -> PerSite:
    assert isinstance(module, PerSite)
    return module
