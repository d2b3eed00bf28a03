"""Hidden states of examples in one file without a name, found by what they were computed from."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class _Entry:
    start: int
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype


class StateFile:
    """key → (T, D) tensors of any length, one after the other in a file that ends with the process.

    The system keeps what it can of a file in memory and drops it when memory is short, so this takes no
    memory from a run and is bounded by the disk alone. It has no name in `folder`: nothing is left behind,
    however a run ends. It is written to and not mapped, since a full disk under a map kills the process.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._entries: dict[bytes, _Entry] = {}
        self._end = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: bytes, states_TD: Tensor) -> None:
        """Adds one example's states."""
        raw = states_TD.contiguous().flatten().view(torch.uint8).numpy()
        try:
            self._file.seek(self._end)
            written = self._file.write(raw.data)
        except OSError as error:
            raise self._full(error.strerror or str(error)) from error
        if written != raw.nbytes:
            raise self._full("no space left")
        shape = tuple(states_TD.shape)
        self._entries[key] = _Entry(start=self._end, size=raw.nbytes, shape=shape, dtype=states_TD.dtype)
        self._end += raw.nbytes

    def get(self, key: bytes) -> Tensor:
        """One example's states (T, D), bit by bit as they were."""
        entry = self._entries[key]
        raw = bytearray(entry.size)
        self._file.seek(entry.start)
        self._file.readinto(raw)
        return torch.frombuffer(raw, dtype=entry.dtype).view(entry.shape)

    def close(self) -> None:
        """Gives the space back."""
        self._file.close()

    def _full(self, why: str) -> PipelineError:
        return PipelineError(
            f"the lower layers' output could not be kept after {self._end / 1e9:.1f} GB: {why}",
            where=str(self._folder),
            hint="trainer.reuse_lower_layers=false, or free some space",
        )
