"""The two files of a PEFT folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.reading import load_pickled, read_json, write_json
from fusion_pipeline.store import disk_errors, load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, PICKLED = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
KIND = "peft_type"


def read_config(folder: Path) -> dict[str, Any]:
    """The settings; refuses a folder without, or with another library's file of the same name."""
    if not (folder / CONFIG).is_file():
        raise PipelineError(
            f"nothing of PEFT's format is here: no {CONFIG}",
            where=str(folder),
            hint="path=FOLDER of one saved LoRA or prompt",
        )
    config = read_json(folder / CONFIG)
    if KIND not in config:
        raise PipelineError(f"this {CONFIG} is not PEFT's: it has no {KIND}", where=str(folder / CONFIG))
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors by PEFT's keys; safetensors win over a torch file, which is opened with `weights_only=True`."""
    if (folder / WEIGHTS).is_file():
        return load_tensors(folder / WEIGHTS)
    return load_pickled(folder / PICKLED, instead=WEIGHTS)


def write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes both files."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / WEIGHTS, tensors)
        write_json(folder / CONFIG, config)
