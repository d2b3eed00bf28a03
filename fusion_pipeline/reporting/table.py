"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fusion_pipeline.tasks.data import TaskData


def result_rows(tasks: Sequence[TaskData], metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(task, metric, validation, test) for every metric, the primary one of each task first."""
    rows = []
    for data in tasks:
        prefix = f"{data.spec.name}/" if len(tasks) > 1 else ""
        keys = [key for key in metrics["test"] if _belongs(key, prefix)]
        keys.sort(key=lambda key: (key != prefix + data.spec.metric, key))
        for key in keys:
            rows.append(
                (
                    data.spec.name,
                    key.removeprefix(prefix),
                    *(f"{metrics[s][key]:.4f}" for s in ("validation", "test")),
                )
            )
    return rows


def show_results(console: Console, title: str, tasks: Sequence[TaskData], metrics: Mapping[str, Any]) -> None:
    """Prints the metrics, what they cost, and nothing else."""
    table = Table(title=title, title_justify="left")
    for name, justify in (("task", "left"), ("metric", "left"), ("validation", "right"), ("test", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in result_rows(tasks, metrics):
        table.add_row(*row)
    console.print(table)
    parameters = metrics.get("parameters")
    if parameters:
        share = parameters["trainable"] / parameters["total"]
        console.print(
            f"{parameters['trainable']:,} of {parameters['total']:,} parameters trained ({share:.1%}), "
            f"{metrics['seconds']:.0f} s, {metrics['epochs']:.3g} epochs"
        )


def _belongs(key: str, prefix: str) -> bool:
    return key.startswith(prefix) if prefix else "/" not in key
