"""Writes a merged LoRA as MLX-LM saves one: transposed factors, one rank and one scale for the whole file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.placing import check_place, placed
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.interop.reading import write_json
from fusion_pipeline.merging.formats.mlx.reading import CONFIG, FINAL, holds
from fusion_pipeline.merging.formats.uniform import OneScale
from fusion_pipeline.merging.output import Writing
from fusion_pipeline.merging.paths import layer_of
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.merging.tensor_file import TensorWriter

FUSED = "fused_adapter.safetensors"


def check(plan: Plan, writing: Writing) -> None:
    """Refuses what MLX-LM has no place for, and a folder that may not be replaced."""
    if plan.kind == PARAMETERS:
        raise PipelineError("MLX has no bottleneck adapters", where="format", hint="format=native keeps them")
    problems = Problems("MLX-LM has no place for these modules", "format")
    for path in plan.modules:
        stack, layer = layer_of(path)
        if (
            layer is None
            or stack.split(".")[-1] not in ("layers", "h")
            or {"encoder", "decoder"} & set(stack.split("."))
        ):
            problems.add(path)
    problems.refuse(hint="MLX-LM runs decoders, with LoRA inside of their layers")
    if plan.out_dtype == "float64":
        raise PipelineError("MLX-LM keeps no float64", where="dtype", hint="dtype=float32")
    check_place(writing.output, holds, overwrite=writing.overwrite, what="adapter")


def place(plan: Plan, writing: Writing) -> AbstractContextManager[Path]:
    """A folder aside."""
    return placed(writing.output)


def write(plan: Plan, writing: Writing, folder: Path) -> list[str]:
    """Both weight files, the same, and `adapter_config.json`."""
    rank, scale = max(plan.ranks.values()), OneScale()
    shapes = dict[str, tuple[int, ...]]()
    for path in plan.modules:
        d_out, d_in = plan.outer[path]
        name = named(plan, path)
        shapes |= {f"{name}.lora_a": (d_in, rank), f"{name}.lora_b": (rank, d_out)}
    with TensorWriter(folder / FINAL, shapes, plan.out_dtype) as file:
        for merged in writing.figures.watched(plan):
            assert merged.update is not None
            update = scale.applied(merged.update).padded(rank)
            file.write(f"{named(plan, merged.path)}.lora_a", update.down.T)
            file.write(f"{named(plan, merged.path)}.lora_b", update.up.T)
    shutil.copyfile(folder / FINAL, folder / FUSED)
    write_json(folder / CONFIG, _config(plan, rank, scale.value or 1.0))
    return _padded(plan, rank)


def named(plan: Plan, path: str) -> str:
    """The module's path in MLX-LM: as the first MLX input has it, or else below `model`."""
    for source, word in zip(plan.sources, plan.wrappers, strict=True):
        if source.format == "mlx":
            return f"{word}.{path}" if word else path
    stack, _ = layer_of(path)
    last = stack.split(".")[-1]
    return f"model.{last}{path.removeprefix(stack)}"


def _config(plan: Plan, rank: int, scale: float) -> dict[str, Any]:
    given: Mapping[str, Any] = next((s.config for s in plan.sources if s.format == "mlx"), {})
    parameters = given.get("lora_parameters") or {}
    keys = {path.removeprefix(f"{layer_of(path)[0]}.{layer_of(path)[1]}.") for path in plan.modules}
    base = next((s.base.name for s in plan.sources if s.base.name is not None), None)
    return {
        "model": base,
        "fine_tune_type": "lora",
        "num_layers": _layers(plan),
        "lora_parameters": {
            "rank": rank,
            "scale": scale,
            "dropout": parameters.get("dropout", 0.0),
            "keys": sorted(keys),
        },
    }


def _layers(plan: Plan) -> int:
    """The last N blocks, where an MLX input shows how many the model has; else -1, which is every block."""
    lowest = min(layer_of(path)[1] or 0 for path in plan.modules)
    for source, own in zip(plan.sources, plan.entries, strict=True):
        count = source.config.get("num_layers", source.config.get("lora_layers"))
        if source.format == "mlx" and type(count) is int and count > 0:
            total = min(layer_of(path)[1] or 0 for path in own) + count
            return total - lowest
    return -1


def _padded(plan: Plan, rank: int) -> list[str]:
    if set(plan.ranks.values()) == {rank}:
        return []
    return [f"MLX has one rank a file: all modules have {rank}, filled up with zeros"]
