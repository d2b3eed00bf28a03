"""Candidates side by side: chosen on validation, then read on test once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline import store

if TYPE_CHECKING:
    from rich.console import Console

    from fusion_pipeline.merging.judging import Judge
    from fusion_pipeline.merging.optimising import Tried


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One candidate's metrics on both splits."""

    name: str
    validation: Mapping[str, float]
    test: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"name": self.name, "validation": dict(self.validation), "test": dict(self.test)}


def standings(judge: Judge, singles: Sequence[Tried], others: Sequence[Tried]) -> list[Standing]:
    """Everyone on test, the inputs first, and last the inputs' outputs fused."""
    found, on_test = [], []
    for one in (*singles, *others):
        judged = judge.also_on(one.judged, "test")
        test = judge.metrics(judged, "test")
        found.append(Standing(name=one.origin, validation=one.validation, test=test))
        on_test.append(judged)
    alone = on_test[: len(singles)]
    together = {split: judge.together(alone, split) for split in ("validation", "test")}
    return [*found, Standing(name="outputs fused (mean)", **together)]


def table(standings: Sequence[Standing], metric: str) -> list[tuple[str, str, str, str, str]]:
    """(candidate, validation, test, validation loss, test loss) as text."""
    return [
        (
            s.name,
            f"{s.validation[metric]:.4f}",
            f"{s.test[metric]:.4f}",
            f"{s.validation['loss']:.4f}",
            f"{s.test['loss']:.4f}",
        )
        for s in standings
    ]


def header(metric: str) -> tuple[str, ...]:
    """The columns of `table`."""
    return ("candidate", f"validation {metric}", f"test {metric}", "validation loss", "test loss")


def show(console: Console, title: str, standings: Sequence[Standing], metric: str) -> None:
    """Prints the table."""
    from rich.table import Table

    shown = Table(*header(metric), title=title, title_justify="left")
    for row in table(standings, metric):
        shown.add_row(*row)
    console.print(shown)


def markdown(standings: Sequence[Standing], metric: str) -> list[str]:
    """The table's lines."""
    rows = [header(metric), *table(standings, metric)]
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(header(metric)), *lines[1:]]


def put(folder: Path, name: str, content: str | Mapping[str, Any]) -> None:
    """One file of text or JSON beside the merged weights, whole or not at all."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with store.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".{name}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / name)
