"""One view over all runs of a comparison: a bar on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from fusion_pipeline.compare.board import Entry


class Estimate:
    """How long runs take, from those that are done: of the same task and contender, else of the same kind."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, ...], list[float]] = {}

    def learn(self, entry: Entry, seconds: float) -> None:
        """Notes a run's duration."""
        for key in self._keys(entry):
            self._seconds.setdefault(key, []).append(seconds)

    def expect(self, entry: Entry) -> float | None:
        """Seconds a run may take; None where nothing like it is known."""
        for key in self._keys(entry):
            known = self._seconds.get(key)
            if known:
                return sum(known) / len(known)
        return None

    @staticmethod
    def _keys(entry: Entry) -> list[tuple[str, ...]]:
        planned = entry.planned
        size = str(planned.train_size)
        return [
            (planned.task, planned.contender, size),
            (planned.task, size),
            (planned.contender, size),
            (),
        ]

    def rest(self, entries: Mapping[str, Entry], at_once: int) -> float | None:
        """Seconds until all are settled, `at_once` at a time; None before anything is known."""
        found = [self.expect(entry) for entry in entries.values() if not entry.settled]
        if not found or any(seconds is None for seconds in found):
            return None
        return sum(seconds for seconds in found if seconds is not None) / at_once


class View:
    """Shows how far the comparison is. It writes to the terminal it was made on, not to where runs write."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._console = Console(file=sys.stdout, quiet=quiet, highlight=False)
        self._started = time.monotonic()
        self._total = total
        self._bar: Progress | None = None
        self._task: Any = None
        if self._console.is_terminal and not quiet:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.description}"),
                console=self._console,
                redirect_stdout=False,
                redirect_stderr=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)
            self._bar.start()

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line, soft_wrap=True, markup=False)

    def running(self, done: int, keys: list[str], rest: float | None) -> None:
        """Moves the bar."""
        if self._bar is None:
            return
        left = "" if rest is None else f", about {clock(rest)} left"
        text = f"{', '.join(keys)} | {clock(time.monotonic() - self._started)}{left}"
        self._bar.update(self._task, completed=done, description=text)

    def ended(self, done: int, line: str, rest: float | None) -> None:
        """One line for a run that ended."""
        left = "" if rest is None else f", about {clock(rest)} left"
        clocks = f"  [{clock(time.monotonic() - self._started)}{left}]"
        self.say(f"[{done}/{self._total}] {line}" + ("" if self._bar is not None else clocks))

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
