"""Runs what a comparison plans and is not there, and writes its report."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_pipeline.compare.board import DONE, FAILED, RUNNING, Board, Entry, read_metrics
from fusion_pipeline.compare.executors import choose_executor
from fusion_pipeline.compare.jobs import Prepared, Workshop
from fusion_pipeline.compare.ledger import add_row, config_hash, learning_rate, row, write_plan
from fusion_pipeline.compare.notes import notes
from fusion_pipeline.compare.plan import RUN
from fusion_pipeline.compare.progress import Estimate, View
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.compare.ticket import Executor, Finished, Ticket
from fusion_pipeline.errors import PipelineError

_PATIENCE = 5.0  # seconds before a run that another process is at is tried again


@dataclass
class Comparison:
    """A comparison under way: its board, who prepares its runs, and the folder that gets its results."""

    workshop: Workshop
    board: Board
    folder: Path
    left_out: list[str]
    estimate: Estimate = field(default_factory=Estimate)
    made: set[Path] = field(default_factory=set)
    prepared: dict[str, Prepared] = field(default_factory=dict)

    def execute(self) -> None:
        """Runs everything; a run that fails takes only those along that need it."""
        view = View(len(self.board.entries))
        executor = choose_executor(self.workshop.spec.parallel)
        under_way: dict[str, Prepared] = {}
        try:
            while self.board.open:
                self._start(executor, under_way, view)
                if under_way:
                    for finished in executor.wait():
                        self._end(under_way.pop(finished.key), finished, view)
        finally:
            executor.close()
            view.close()
            self._save()

    def _start(self, executor: Executor, under_way: dict[str, Prepared], view: View) -> None:
        """Settles what is there, and starts as much of the rest as there is room for."""
        again = True
        while again:
            again = False
            for key in self.board.ready():
                entry, prepared = self.board.entries[key], self._prepare(key)
                if prepared.there:
                    self._settle(key, prepared, Finished(key=key, error=None, seconds=0.0), view, reused=True)
                    again = True
                elif executor.room > 0 and not _same_folder(prepared, under_way):
                    entry.state, under_way[key] = RUNNING, prepared
                    executor.start(
                        Ticket(key=key, config=prepared.config, folder=prepared.folder, log=self.log(key))
                    )
        view.running(self._settled(), list(under_way), self._rest())

    def _prepare(self, key: str) -> Prepared:
        if key not in self.prepared:
            planned = self.board.entries[key].planned
            self.prepared[key] = self.workshop.prepare(planned, self.board.parents(planned), self.made)
        return self.prepared[key]

    def _end(self, prepared: Prepared, finished: Finished, view: View) -> None:
        if finished.busy:
            # Another comparison makes it: look again when something else is done, or after a while.
            self.board.postpone(finished.key)
            del self.prepared[finished.key]
            time.sleep(_PATIENCE)
            return
        self._settle(finished.key, prepared, finished, view, reused=False)
        self._save()

    def _settle(self, key: str, prepared: Prepared, finished: Finished, view: View, *, reused: bool) -> None:
        entry = self.board.settle(key, prepared.folder, finished.error, reused=reused)
        if entry.state == DONE:
            self.made.add(prepared.folder)
            self._keep(entry)
            seconds = read_metrics(prepared.folder).get("seconds", finished.seconds)
            self.estimate.learn(entry, max(float(seconds), finished.seconds))
        if not reused:
            view.ended(self._settled(), self._line(key, entry, finished), self._rest())

    def _keep(self, entry: Entry) -> None:
        """A row in results.csv and, where there is one, in the study's file."""
        values = row(entry, self.board.tasks[entry.planned.task])
        add_row(self.folder / "results.csv", values)
        if self.workshop.spec.study is not None:
            add_row(Path(self.workshop.spec.study).expanduser(), values)

    def _line(self, key: str, entry: Entry, finished: Finished) -> str:
        if entry.state == FAILED:
            return f"{key}: failed: {(entry.error or '').splitlines()[0]} ({self.log(key)})"
        score = self.board.validation(key)
        metric = self.board.tasks[entry.planned.task].metric
        return f"{key}: validation {metric} {score:.4f}, {finished.seconds:.0f} s"

    def log(self, key: str) -> Path:
        """The file that gets what a run prints."""
        return self.folder / "logs" / f"{key}.log"

    def outcomes(self) -> list[Outcome]:
        """What the report is about."""
        return [
            Outcome(
                contender=entry.planned.contender,
                task=self.board.tasks[entry.planned.task],
                seed=entry.planned.seed,
                stage1_seed=entry.planned.stage1_seed,
                train_size=entry.planned.train_size,
                folder=entry.folder,
                learning_rate=learning_rate(entry.folder),
                config_hash=config_hash(entry.folder),
            )
            for entry in self.board.entries.values()
            if entry.planned.role == RUN and entry.state == DONE and entry.folder is not None
        ]

    def _settled(self) -> int:
        return sum(entry.settled for entry in self.board.entries.values())

    def _rest(self) -> float | None:
        return self.estimate.rest(self.board.entries, self.workshop.spec.parallel)

    def _save(self) -> dict[str, Any]:
        return write_plan(self.folder / "plan.json", self.board, self.left_out)

    def report(self) -> None:
        """Writes the report of what is there, then says what went wrong."""
        outcomes = self.outcomes()
        if outcomes:
            from fusion_pipeline.compare.reporting import write_report

            run, spec = self.workshop.run, self.workshop.spec
            planned = self._save()
            extra = {key: planned[key] for key in ("learning_rates", "missing", "left_out")}
            write_report(run, outcomes, self.folder, notes=notes(self), latency=spec.latency, extra=extra)
        failed = self.board.failed()
        if failed:
            listed = "\n".join(f"    {e.planned.key}: {(e.error or '').splitlines()[0]}" for e in failed)
            raise PipelineError(
                f"{len(failed)} of {len(self.board.entries)} runs failed:\n{listed}",
                where=str(self.folder / "logs"),
                hint="the same command runs them again, and only them",
            )


def _same_folder(prepared: Prepared, under_way: dict[str, Prepared]) -> bool:
    return any(other.folder == prepared.folder for other in under_way.values())
