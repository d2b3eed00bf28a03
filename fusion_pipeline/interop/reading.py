"""What formats share in reading: JSON objects, and torch files as weights only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from torch import Tensor


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"this file is not JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise PipelineError("this file holds no JSON object", where=str(path))
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Indented JSON, keys sorted, as other libraries write it."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def load_pickled(path: Path, *, instead: str) -> dict[str, Tensor]:
    """A torch file of tensors, opened with `weights_only=True`; `instead` names the safetensors that are not there."""
    import torch

    if not path.is_file():
        raise PipelineError(
            f"the weights are missing: neither {instead} nor {path.name}", where=str(path.parent)
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise PipelineError(
            f"the weights cannot be read without running code from the file: {str(error).splitlines()[0]}",
            where=str(path),
            hint="save it again as safetensors where you trust it",
        ) from error
    if not isinstance(content, dict) or not all(torch.is_tensor(value) for value in content.values()):
        raise PipelineError("this file holds no dict of tensors", where=str(path))
    return {str(key): value for key, value in content.items()}
