"""What the disk can do to a run, told to a person: full, read-only, a file where a folder should be."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion_pipeline.errors import PipelineError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# safetensors and torch turn the system's error into text.
_FULL_TEXTS = (
    "no space left on device",
    "os error 28",
    "file too large",
    "os error 27",
    "disk quota exceeded",
)
_REASONS = {
    errno.EACCES: "this folder may not be written to",
    errno.EPERM: "this folder may not be written to",
    errno.EROFS: "this disk is read-only",
    errno.ENOTDIR: "a file lies where a folder is needed",
    errno.EEXIST: "a file lies where a folder is needed",
    errno.ENAMETOOLONG: "this path is too long",
}


def as_disk_error(error: BaseException, where: str | None = None) -> PipelineError | None:
    """The error as a person reads it, if the disk is behind it; else None."""
    for link in _chain(error):
        number = link.errno if isinstance(link, OSError) else None
        if number in FULL or any(text in str(link).lower() for text in _FULL_TEXTS):
            hint = "free some space or set output_root= to another disk; what was saved before is untouched"
            return PipelineError("the disk is full", where=where or _file(link), hint=hint)
    return None


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turns what the disk refuses inside the block into a PipelineError about `path`."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        full = as_disk_error(error, str(path))
        if full is not None:
            raise full from error
        if isinstance(error, OSError) and error.errno in _REASONS:
            hint = "output_root= sets another folder"
            raise PipelineError(_REASONS[error.errno], where=_file(error) or str(path), hint=hint) from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _file(error: BaseException) -> str | None:
    return str(error.filename) if isinstance(error, OSError) and error.filename else None
