"""The comparison as a table on screen, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from fusion_pipeline.compare.results import Outcome, Row
from fusion_pipeline.store import Manifest
from fusion_pipeline.training.weights import mean_over_layers

HEADER = ("target", "contender", "metric", "seeds", "validation", "test", "difference", "trained", "s")


def cells(row: Row) -> tuple[str, ...]:
    """One row as text; metrics in per cent."""
    return (
        row.target,
        row.contender,
        row.metric,
        str(row.seeds),
        _percent(row.validation, row.seeds),
        _percent(row.test, row.seeds),
        _difference(row),
        f"{row.trainable:,}",
        f"{row.seconds:.0f}",
    )


def show(console: Console, rows: Sequence[Row]) -> None:
    """Prints the table and a plain sentence for every difference."""
    shown = [index for index, name in enumerate(HEADER) if name not in ("metric", "seeds", "trained")]
    table = Table(title=_title(rows), title_justify="left")
    for index in shown:
        table.add_column(HEADER[index], justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*(cells(row)[index] for index in shown))
    console.print(table)
    for sentence in sentences(rows):
        console.print(sentence, soft_wrap=True)


def markdown(rows: Sequence[Row], outcomes: Sequence[Outcome], weights: dict[str, Any], command: str) -> str:
    """The report: table, what it allows to say, what the fusion listened to, and how it was made."""
    lines = ["# Own adapter against fusion", "", _origin(outcomes), ""]
    lines += [
        "Test, mean ± standard deviation over seeds, in %; selection on validation, test read once.",
        "",
    ]
    lines += [f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    lines += ["", *(f"- {sentence}" for sentence in sentences(rows))]
    if weights:
        lines += [
            "",
            "## What the fusion listened to",
            "",
            "Mean weight over layers and validation tokens:",
            "",
        ]
        for task, means in mean_over_layers(weights).items():
            ordered = sorted(means.items(), key=lambda item: -item[1])
            lines.append(f"- {task}: " + ", ".join(f"{name} {weight:.2f}" for name, weight in ordered))
        lines += ["", "![fusion weights by layer](fusion_weights.png)"]
    return "\n".join([*lines, "", "Made with:", "", "```", command, "```", ""])


def _origin(outcomes: Sequence[Outcome]) -> str:
    manifest = Manifest.read(outcomes[0].folder)
    sources = "; ".join(dict.fromkeys(f"{entry['task']} from {entry['source']}" for entry in manifest.data))
    seeds = sorted({outcome.seed for outcome in outcomes})
    versions = ", ".join(f"{name} {manifest.versions[name]}" for name in ("torch", "transformers"))
    return f"Backbone {manifest.backbone['name']}; data: {sources}; seeds {seeds}; {versions}."


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON values."""
    return [asdict(row) for row in rows]


def sentences(rows: Sequence[Row]) -> list[str]:
    """What the numbers allow to say of each contender against the single adapter, and no more."""
    return [_sentence(row) for row in rows if row.discordant is not None or row.difference is not None]


def _sentence(row: Row) -> str:
    parts = []
    if row.difference is not None:
        d = row.difference
        parts.append(
            f"{100 * d.mean:+.1f} points (95 % interval over seeds {100 * d.low:+.1f} to {100 * d.high:+.1f}, "
            f"{_p(d.p)})"
        )
    if row.discordant is not None:
        only_single, only_this, p = row.discordant
        verdict = "more than chance explains" if p < 0.05 else "which this test set cannot tell from chance"
        how = "by majority over seeds " if row.seeds > 1 else ""
        parts.append(
            f"{how}{only_this} test examples right that the single adapter gets wrong and "
            f"{only_single} the other way, {verdict} (McNemar {_p(p)})"
        )
    return f"{row.target}, {row.contender} against the single adapter: " + "; ".join(parts)


def _title(rows: Sequence[Row]) -> str:
    metrics = ", ".join(dict.fromkeys(f"{row.target}: {row.metric}" for row in rows))
    spread = "one seed" if rows[0].seeds == 1 else f"mean ± sd over {rows[0].seeds} seeds"
    return f"{metrics}; {spread}, in %"


def _percent(value: tuple[float, float], seeds: int) -> str:
    mean, deviation = value
    return f"{100 * mean:.1f}" if seeds == 1 else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _difference(row: Row) -> str:
    return "" if row.difference is None else f"{100 * row.difference.mean:+.1f} ({_p(row.difference.p)})"
