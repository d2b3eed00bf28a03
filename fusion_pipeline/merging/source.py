"""One adapter on disk, opened for merging: what is in it, read tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.merging.update import Update

UPDATES, PARAMETERS = "updates", "parameters"


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a file says of the model its adapter belongs to; None where it says nothing."""

    name: str | None = None
    fingerprint: str | None = None
    model_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One module in the file.

    `keys` and `shapes` are by part: `down`, `up` of an update, or the names of a bottleneck's parameters. Shapes are as
    read, A (R, D_in) and B (D_out, R), whatever way round the file has them.
    """

    keys: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    scale: float = 1.0

    def scaled(self, scale: float) -> Entry:
        """The same with its s."""
        return replace(self, scale=scale)

    @property
    def rank(self) -> int:
        """R, also of a bottleneck."""
        return self._matrix("down")[0]

    @property
    def outer(self) -> tuple[int, int]:
        """(D_out, D_in)."""
        return self._matrix("up")[0], self._matrix("down")[1]

    def _matrix(self, side: str) -> tuple[int, ...]:
        found = (shape for part, shape in self.shapes.items() if part.startswith(side))
        return next(shape for shape in found if len(shape) == 2)


@dataclass(frozen=True, kw_only=True)
class Source:
    """An adapter that can be merged.

    Args:
        name: What a person calls it.
        format: The module below `merging.formats` that opened it.
        folder: Where it lies.
        file: Its weights, safetensors.
        kind: `updates` (LoRA) or `parameters` (bottlenecks).
        base: The model it belongs to.
        entries: Its modules by their path below the base model, as the format writes it.
        config: The format's own settings, for writing the same format again.
        transposed: The file has A as (D_in, R) and B as (R, D_out).
        notes: What a person should know of how it was read.
    """

    name: str
    format: str
    folder: Path
    file: Path
    kind: str
    base: Base
    entries: Mapping[str, Entry]
    config: Mapping[str, Any]
    transposed: bool = False
    notes: tuple[str, ...] = field(default=())

    def tensors(self, path: str) -> dict[str, Tensor]:
        """A module's tensors by part; a part that is not finite is refused."""
        from fusion_pipeline.merging.tensor_file import opened

        with opened(self.file) as file:
            read = {part: file.get_tensor(key) for part, key in self.entries[path].keys.items()}
        for part, tensor in read.items():
            if not tensor.isfinite().all():
                raise PipelineError(
                    f"{self.entries[path].keys[part]} holds NaN or infinite numbers", where=str(self.file)
                )
        return {part: t.T.contiguous() for part, t in read.items()} if self.transposed else read

    def update(self, path: str) -> Update:
        """A LoRA module's update."""
        from fusion_pipeline.merging.update import Update

        return Update(**self.tensors(path), scale=self.entries[path].scale)

    @property
    def ranks(self) -> dict[str, int]:
        """R of every module."""
        return {path: entry.rank for path, entry in self.entries.items()}
