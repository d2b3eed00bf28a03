"""The most memory a training held at once."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): resets VmHWM to the memory held now


class PeakMemory:
    """The high-water mark since it was made, in bytes: of the GPU where training runs on one, else of the process.

    `bytes` is None where the system cannot say it of this training alone (no Linux, a locked /proc).
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._cuda = device, device.type == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(device)
        self._reset = self._cuda or _reset_process()

    @property
    def bytes(self) -> int | None:
        """The mark up to now."""
        if not self._reset:
            return None
        return int(torch.cuda.max_memory_allocated(self._device)) if self._cuda else _process_peak()


def _reset_process() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _process_peak() -> int | None:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
