"""One run of a comparison as what a process needs to run it: plain values in, an error or nothing out."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fusion_pipeline.cli.report import explain
from fusion_pipeline.registry import locate, trusting
from fusion_pipeline.run import Run
from fusion_pipeline.store import BusyError


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A run that may start: its key, its whole config, its artefact's folder, the file that gets what it prints."""

    key: str
    config: dict[str, Any]
    folder: Path
    log: Path


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a run ended: nothing, or what went wrong. `busy`: another process is at it, and it may be tried again."""

    key: str
    error: str | None
    seconds: float
    busy: bool = False


class Executor(Protocol):
    """Runs tickets somewhere."""

    @property
    def room(self) -> int:
        """How many more tickets it takes now."""
        ...

    def start(self, ticket: Ticket) -> None:
        """Takes a ticket."""
        ...

    def wait(self) -> list[Finished]:
        """Blocks until one ticket or more are done."""
        ...

    def close(self) -> None:
        """Ends what still runs."""
        ...


def execute(ticket: Ticket) -> Finished:
    """Runs the stage; whatever it raises becomes a text. Ctrl-C goes through."""
    started, error, busy = time.monotonic(), None, False
    with _into(ticket.log):
        try:
            stage = locate(str(ticket.config["stage"]["_target_"]), where="stage")
            run = Run.from_config(ticket.config)
            with trusting(run.trust):
                stage(run)
        except Exception as problem:  # noqa: BLE001 (the other runs of a comparison go on)
            error, busy = explain(problem).render(), isinstance(problem, BusyError)
            print(f"error: {error}")
    _forget()
    return Finished(key=ticket.key, error=error, seconds=time.monotonic() - started, busy=busy)


@contextmanager
def _into(log: Path) -> Iterator[None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield


def _forget() -> None:
    """Models hold cycles; a hundred runs in one process must not wait for them to be found."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
