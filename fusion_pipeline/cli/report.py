"""How an error reaches a person: one message on stderr, no traceback unless debug=true, and an exit code.

Exit codes: 0 done, 1 the run failed, 2 the command line or a config is wrong, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError
from fusion_pipeline.run import rank
from fusion_pipeline.store import as_disk_error

FAILED, MISTAKE, STOPPED = 1, 2, 130


def explain(error: BaseException) -> PipelineError:
    """Any exception as the error a person reads."""
    if isinstance(error, PipelineError):
        return error
    full = as_disk_error(error)
    if full is not None:
        return full
    text = str(error).strip()
    what = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        batch = "trainer.per_device_train_batch_size"
        return PipelineError(f"out of memory ({what})", hint=f"a smaller {batch}, or a smaller backbone")
    return PipelineError(f"unexpected {what}", hint="this may be a bug; debug=true shows the traceback")


def tell(error: BaseException, *, debug: bool) -> int:
    """Prints the error and gives the exit code."""
    explained = explain(error)
    code = MISTAKE if isinstance(explained, ConfigError) else FAILED
    if debug:
        traceback.print_exception(error)
    if rank() == 0:
        print(f"error: {explained.render()}", file=sys.stderr)
    elif code == FAILED:  # a wrong command line is the same on every rank, a missing file need not be
        print(f"error on rank {rank()}: {explained.what}", file=sys.stderr)
    return code


def tell_stopped() -> int:
    """Says that a person stopped the run."""
    if rank() == 0:
        print("stopped; resume=true goes on from the last checkpoint", file=sys.stderr)
    return STOPPED
