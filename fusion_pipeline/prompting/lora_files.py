"""LoRA folders of PEFT and MLX as matrices by the paths of the linears they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.peft import files, settings
from fusion_pipeline.interop.peft.matrices import STEM, Pair, scale_of
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.interop.reading import read_json
from fusion_pipeline.store import load_tensors

_PEFT = re.compile(rf"^{re.escape(STEM)}(?P<path>.+)\.lora_(?P<side>[AB])\.weight$")
_MLX = re.compile(r"^(?P<path>.+)\.lora_(?P<side>[ab])$")
_MLX_WEIGHTS = ("adapters.safetensors", "best_adapters.safetensors")


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """One folder's format and its matrices, {path of a linear: A (R, D_in), B (D_out, R), s}."""

    format: str
    pairs: Mapping[str, Pair]


def is_lora(folder: Path) -> bool:
    """Whether the folder may be one of PEFT's or MLX's."""
    return (folder / files.CONFIG).is_file()


def read_lora(folder: Path) -> LoraFile:
    """The matrices in a folder; refuses what is no LoRA, and everything that a sum of matrices would lose."""
    config, where = read_json(folder / files.CONFIG), str(folder)
    if files.KIND in config:
        kind = settings.check(config, where)
        if kind != "LORA":
            raise PipelineError(f"peft_type={kind} does not change a linear: only LoRA does", where=where)
        sides = _sides(files.read_weights(folder), _PEFT, where)
        pairs = {
            path: Pair(
                down=found["A"], up=found["B"], scale=scale_of(config, path, found["A"].shape[0], where)
            )
            for path, found in sides.items()
        }
        return LoraFile(format="peft", pairs=pairs)
    return LoraFile(format="mlx", pairs=_mlx(config, folder))


def _mlx(config: Mapping[str, Any], folder: Path) -> dict[str, Pair]:
    """MLX stores Aᵀ (D_in, R) and Bᵀ (R, D_out); its scale is the multiplier itself."""
    where, kind = str(folder / files.CONFIG), config.get("fine_tune_type", "lora")
    parameters = config.get("lora_parameters")
    if not isinstance(parameters, Mapping):
        raise PipelineError(f"this {files.CONFIG} is neither PEFT's nor MLX's", where=where)
    if kind != "lora":
        raise PipelineError(f"fine_tune_type={kind} is no LoRA", where=where)
    scale = parameters.get("scale", 20.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise PipelineError(f"scale={scale} is no number", where=where)
    weights = next((folder / name for name in _MLX_WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise PipelineError(f"the weights are missing: no {' or '.join(_MLX_WEIGHTS)}", where=str(folder))
    sides = _sides(load_tensors(weights), _MLX, str(folder))
    return {
        path: Pair(down=found["A"].T.contiguous(), up=found["B"].T.contiguous(), scale=float(scale))
        for path, found in sides.items()
    }


def _sides(
    tensors: Mapping[str, Tensor], pattern: re.Pattern[str], where: str
) -> dict[str, dict[str, Tensor]]:
    problems, sides = Problems("these weights are no plain LoRA", where), dict[str, dict[str, Tensor]]()
    for key, value in tensors.items():
        match = pattern.match(key)
        if match is None or value.dim() != 2:
            problems.add(f"unexpected: {key}")
        elif not bool(value.isfinite().all()):
            problems.add(f"not finite: {key}")
        else:
            sides.setdefault(match["path"], {})[match["side"].upper()] = value
    for path, found in sides.items():
        if len(found) < 2:
            problems.add(f"only one of the two matrices: {path}")
    if not sides:
        problems.add("there is no LoRA matrix")
    problems.refuse()
    return sides
