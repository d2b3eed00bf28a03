"""Opens a LoRA that MLX-LM saved: `lora_a` (D_in, R), `lora_b` (R, D_out), ΔW = scale·(a b)ᵀ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.interop.reading import read_json
from fusion_pipeline.merging import tensor_file
from fusion_pipeline.merging.pairs import paired
from fusion_pipeline.merging.paths import layer_of
from fusion_pipeline.merging.source import UPDATES, Base, Source

CONFIG, FINAL, BEST = "adapter_config.json", "adapters.safetensors", "best_adapters.safetensors"
DEFAULT_SCALE = 20.0
_KEY = re.compile(r"^(?P<path>.+)\.lora_(?P<side>[ab])$")


def holds(folder: Path) -> bool:
    """Whether the folder's config is MLX's."""
    path = folder / CONFIG
    if not path.is_file():
        return False
    config = read_json(path)
    return "peft_type" not in config and ("lora_parameters" in config or "fine_tune_type" in config)


def open_source(folder: Path, file: Path | None, name: str) -> Source:
    """The LoRA in the folder: its last weights, or its best where the last are not there."""
    config, where = read_json(folder / CONFIG), str(folder)
    weights = file or next((folder / f for f in (FINAL, BEST) if (folder / f).is_file()), None)
    if weights is None or not weights.is_file():
        raise PipelineError(f"the weights are missing: neither {FINAL} nor {BEST}", where=where)
    problems = Problems("this adapter cannot be merged", where)
    scale = _settings(config, problems)
    shapes = tensor_file.shapes(weights)
    for key in shapes:
        # An embedding's factors look like a linear's there.
        if layer_of(key)[1] is None:
            problems.add(f"{key}: outside of the layers")
    entries = paired(shapes, _key_parts, problems, transposed=True)
    base = config.get("model")
    other = file is None and weights.name == FINAL and (folder / BEST).is_file()
    return Source(
        name=name,
        format="mlx",
        folder=folder,
        file=weights,
        kind=UPDATES,
        base=Base(name=str(base) if base else None),
        entries={path: entry.scaled(scale) for path, entry in entries.items()},
        config=config,
        transposed=True,
        notes=(f"{name}: {FINAL} is read; {BEST} lies beside it and is read where its path is given",)
        if other
        else (),
    )


def _key_parts(key: str) -> tuple[str, str] | None:
    match = _KEY.match(key)
    return None if match is None else (match["path"], match["side"].upper())


def _settings(config: Mapping[str, Any], problems: Problems) -> float:
    kind = config.get("fine_tune_type", "lora")
    parameters = config.get("lora_parameters") or {}
    if kind != "lora":
        problems.add(f"fine_tune_type={kind}: not supported")
    if not isinstance(parameters, dict):
        problems.add("lora_parameters is no mapping")
        return DEFAULT_SCALE
    if "scale" not in parameters and "alpha" in parameters:
        problems.add("lora_parameters has alpha and no scale: MLX-LM's scale is the factor itself")
    scale = parameters.get("scale", DEFAULT_SCALE)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        problems.add(f"lora_parameters.scale={scale}: it is no number")
        return DEFAULT_SCALE
    return float(scale)
