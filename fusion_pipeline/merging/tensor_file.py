"""safetensors files, one tensor at a time: no file is ever whole in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from torch import Tensor

_FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_NAMES = {torch_name: name for name, torch_name in _FLOATS.items()}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file for `get_tensor`; one that is truncated, corrupt or no safetensors is refused."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise PipelineError(
            f"the weights are truncated or no safetensors file: {error}",
            where=str(path),
            hint="copy the adapter again; pickles are not read: save them as safetensors",
        ) from error


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """{key: shape} from the header alone; tensors that are no floating-point numbers are refused."""
    with opened(path) as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
        wrong = [key for key, part in slices.items() if part.get_dtype() not in _FLOATS]
        found = {key: tuple(part.get_shape()) for key, part in slices.items()}
    if wrong:
        raise PipelineError(f"{wrong[0]} holds no floating-point numbers", where=str(path))
    return found


def dtype_of(path: Path) -> str:
    """The widest floating-point type in the file, by torch's name."""
    with opened(path) as file:
        found = {_FLOATS[file.get_slice(key).get_dtype()] for key in file.keys()}  # noqa: SIM118
    order = ["float64", "float32", "bfloat16", "float16"]
    # Neither half holds the other's numbers.
    return "float32" if found == {"bfloat16", "float16"} else min(found, key=order.index)


class TensorWriter:
    """Writes a safetensors file whose names and shapes are known before its numbers.

    The header comes first and says where each tensor lies; `write` puts a tensor there, in any order. Leaving the
    block with a tensor missing is an error.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> None:
        self._path, self._shapes, self._dtype = path, dict(shapes), dtype
        self._offsets, self._missing = dict[str, int](), set(shapes)
        self._file: BinaryIO | None = None

    def __enter__(self) -> TensorWriter:
        header, end = dict[str, Any](__metadata__={"format": "pt"}), 0
        size = 8 if self._dtype == "float64" else 4 if self._dtype == "float32" else 2
        for key, shape in self._shapes.items():
            count = size
            for length in shape:
                count *= length
            header[key] = {
                "dtype": _NAMES[self._dtype],
                "shape": list(shape),
                "data_offsets": [end, end + count],
            }
            self._offsets[key], end = end, end + count
        text = json.dumps(header, separators=(",", ":")).encode()
        # Aligned as safetensors does it.
        text += b" " * (-len(text) % 8)
        self._start = 8 + len(text)
        self._file = self._path.open("wb")
        self._file.write(struct.pack("<Q", len(text)) + text)
        self._file.truncate(self._start + end)
        return self

    def write(self, key: str, tensor: Tensor) -> None:
        """Puts one tensor into the file; overflow in the file's type is refused."""
        import torch

        assert self._file is not None
        values = tensor.detach().to(getattr(torch, self._dtype)).contiguous()
        if tuple(values.shape) != self._shapes[key]:
            raise ValueError(f"{key}: {tuple(values.shape)} is not the announced {self._shapes[key]}")
        if not values.isfinite().all():
            raise PipelineError(
                f"{key} is too large for {self._dtype} after merging",
                where="dtype",
                hint="dtype=float32, or smaller weights",
            )
        self._file.seek(self._start + self._offsets[key])
        self._file.write(values.reshape(-1).view(torch.uint8).numpy().data)
        self._missing.discard(key)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
        if kind is None and self._missing:
            raise ValueError(f"tensors were announced and not written: {sorted(self._missing)}")
