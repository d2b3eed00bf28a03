"""One writer a folder. The lock is the operating system's: it ends with the process, however that ends.

The lock file lies beside the folder (`.<name>.lock`) and goes when the lock does.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store.disk import disk_errors
from fusion_pipeline.store.leftovers import recover

_held: set[Path] = set()


class BusyError(PipelineError):
    """Another process writes the folder; later it may be free, or hold what was wanted."""


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Holds the right to write `folder` (which need not exist); a second process gets a PipelineError.

    Taking it again in the same process is fine. Taking it clears what a killed run left beside the folder.
    """
    target = Path(os.path.abspath(folder))
    if target in _held:
        yield
        return
    path = target.parent / f".{target.name}.lock"
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, target)
    _held.add(target)
    try:
        recover(target)
        yield
    finally:
        _held.discard(target)
        path.unlink(missing_ok=True)  # while still holding it: whoever waits sees that the file is gone
        os.close(descriptor)


def _acquire(path: Path, target: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # Not flock: a forked data loader that outlives a killed run would go on holding it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            hint = "wait for it, or give this run another name="
            raise BusyError(
                f"another run is writing this folder ({holder})", where=str(target), hint=hint
            ) from error
        if _is_current(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
            return descriptor
        os.close(descriptor)  # the holder before us removed this file after we had opened it


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {content['pid']} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "it has just begun"
