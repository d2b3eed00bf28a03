"""What a comparison is going to do: how many runs of each kind there are, and how many are there already."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from fusion_pipeline.compare.board import DONE, Board, Entry, read_metrics
from fusion_pipeline.compare.plan import SOURCE, TRIAL, Planned
from fusion_pipeline.compare.progress import Estimate, clock
from fusion_pipeline.compare.running import Comparison
from fusion_pipeline.run import Run


def show_forecast(run: Run, comparison: Comparison) -> list[Planned]:
    """Prints the plan as a table, with the time it may take where runs like these are there; what is left to run."""
    board, estimate = _looked_up(comparison), Estimate()
    for entry in board.entries.values():
        if entry.state == DONE and entry.folder is not None:
            estimate.learn(entry, float(read_metrics(entry.folder).get("seconds", 0)))
    table = Table(title="plan", title_justify="left")
    for name, justify in (
        ("task", "left"),
        ("runs", "left"),
        ("there", "right"),
        ("to run", "right"),
        ("about", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in board.entries.values():
        groups.setdefault(_group(entry), []).append(entry)
    for (task, what), entries in groups.items():
        table.add_row(task, what, *_counts(entries, estimate, 1))
    table.add_section()
    table.add_row("all", "", *_counts(board.entries.values(), estimate, comparison.workshop.spec.parallel))
    run.console.print(table)
    return [entry.planned for entry in board.entries.values() if entry.state != DONE]


def _looked_up(comparison: Comparison) -> Board:
    """A copy of the board on which everything that is there is done."""
    board = Board.of([entry.planned for entry in comparison.board.entries.values()], comparison.board.tasks)
    again = True
    while again:
        again = False
        for key in board.ready():
            entry = board.entries[key]
            prepared = comparison.workshop.prepare(entry.planned, board.parents(entry.planned))
            if prepared.there:
                board.settle(key, prepared.folder, None)
                again = True
    return board


def _group(entry: Entry) -> tuple[str, str]:
    planned = entry.planned
    size = "" if planned.train_size is None else f", {planned.train_size} rows"
    if planned.role == SOURCE:
        return "source adapters", planned.task + size
    rates = ", learning rates" if planned.role == TRIAL else ""
    return planned.task, planned.contender + size + rates


def _counts(entries: Iterable[Entry], estimate: Estimate, at_once: int) -> tuple[str, str, str]:
    every = list(entries)
    there = sum(entry.state == DONE for entry in every)
    rest = estimate.rest({str(number): entry for number, entry in enumerate(every)}, at_once)
    return str(there), str(len(every) - there), "" if rest is None else clock(rest)
