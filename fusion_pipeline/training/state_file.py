"""Hidden states of examples in one file without a name, found by what they were computed from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError


class StateFile:
    """key → states (T, D) of one dtype and any T, one after the other in a file that ends with the process.

    The system keeps what it can of a file in memory and drops it when memory is short, so this takes no
    memory from a run and is bounded by the disk alone. It has no name in `folder`: nothing is left behind,
    however a run ends. It is written to and not mapped, since a full disk under a map kills the process.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self._starts: dict[bytes, int] = {}
        self._end = 0
        # (0, D) in the states' dtype.
        self._like = torch.empty(0, 0)

    def __contains__(self, key: bytes) -> bool:
        return key in self._starts

    def __len__(self) -> int:
        return len(self._starts)

    def put(self, key: bytes, states_TD: Tensor) -> None:
        """Adds one example's states."""
        raw = _raw(states_TD.contiguous())
        try:
            self._file.seek(self._end)
            written = self._file.write(raw)
        except OSError as error:
            raise self._full(error.strerror or str(error)) from error
        if written != raw.nbytes:
            raise self._full("no space left")
        self._starts[key] = self._end
        self._end += raw.nbytes
        self._like = states_TD.new_empty(0, states_TD.shape[-1])

    def read(self, keys: Sequence[bytes], mask_BT: Tensor) -> Tensor:
        """The states of several examples (B, T, D), bit by bit as they were; 0 outside of the mask.

        Padding is at one side of each row.
        """
        states = self._like.new_zeros((*mask_BT.shape, self._like.shape[-1]))
        first, count = mask_BT.int().argmax(1).tolist(), mask_BT.sum(1).tolist()
        for row, key in enumerate(keys):
            self._file.seek(self._starts[key])
            # Straight to its place: at each step this is all the work.
            self._file.readinto(_raw(states[row, first[row] : first[row] + count[row]]))
        return states

    def close(self) -> None:
        """Gives the space back."""
        self._file.close()

    def _full(self, why: str) -> PipelineError:
        return PipelineError(
            f"the lower layers' output could not be kept after {self._end / 1e9:.1f} GB: {why}",
            where=str(self._folder),
            hint="trainer.reuse_lower_layers=false, or free some space",
        )


def _raw(states: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, in place."""
    return states.flatten().view(torch.uint8).numpy().data
