"""Tensors on disk: safetensors in, safetensors out, and every name and shape accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store.disk import disk_errors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_PICKLED = (
    b"PK\x03\x04",
    b"\x80\x02",
    b"\x80\x03",
    b"\x80\x04",
    b"\x80\x05",
)  # a torch.save archive, bare pickles


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as one safetensors file."""
    from safetensors.torch import save_file

    # A copy each: safetensors refuses tensors that share memory.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with disk_errors(path):
        save_file(plain, str(path), metadata={"format": "pt"})


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Reads a safetensors file; anything else, a pickle above all, is a PipelineError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise PipelineError("the weights are missing", where=str(path))
    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError, ValueError) as error:
        what = f"the weights are truncated or no safetensors file: {error}"
        if path.read_bytes()[:4].startswith(_PICKLED):
            what = "these weights are a pickle, and only safetensors are read"
        raise PipelineError(
            what, where=str(path), hint="make the artefact again, or copy it again"
        ) from error


def load_strict(module: Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Loads tensors into a module; every missing and unexpected name and every other shape is named."""
    own = module.state_dict()
    problems = [f"missing: {name}" for name in own if name not in tensors]
    problems += [f"unexpected: {name}" for name in tensors if name not in own]
    problems += [
        f"shape of {name}: {_shape(tensors[name])} in the file, {_shape(own[name])} in the model"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        raise PipelineError("the weights do not fit the model:\n    " + "\n    ".join(problems), where=where)
    module.load_state_dict(dict(tensors), strict=True)


def parameter_count(folder: str | Path) -> int:
    """How many numbers the safetensors files in a folder and below it hold; only their headers are read."""
    return sum(_numbers(path) for path in sorted(Path(folder).rglob("*.safetensors")))


def _numbers(path: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise PipelineError(
            f"the weights are truncated or no safetensors file: {error}", where=str(path)
        ) from error


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"
