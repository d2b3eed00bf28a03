"""A comparison on screen: the table, and a sentence for every difference."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion_pipeline.compare.report import Report
from fusion_pipeline.compare.sections import point_of, result_table

# What fits on a screen; the files have the rest.
_SHOWN = ("target", "contender", "train", "test %", "difference", "verdict", "latency")


def show(console: Console, report: Report) -> None:
    """Prints both."""
    found = result_table(report)
    shown = [i for i, name in enumerate(found.header) if name in _SHOWN and any(row[i] for row in found.rows)]
    table = Table(title=f"test, against {escape(report.reference)}", title_justify="left")
    for index in shown:
        words = index < found.left
        table.add_column(
            found.header[index], justify="left" if words else "right", no_wrap=not words, overflow="fold"
        )
    for row in found.rows:
        # The interval is in the sentence below.
        table.add_row(*(escape(row[index].partition(" (")[0]) for index in shown))
    console.print(table)
    for one in report.tested:
        point = point_of(one, len(report.tested))
        console.print(" ".join([point.text, *point.details]), soft_wrap=True, markup=False)
    for line in report.caveats:
        console.print(f"note: {line}", soft_wrap=True, markup=False)
