"""The report of a comparison: a table on screen, `report.md`, `results.json` and the fusion's weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.compare.report import markdown, show, to_json
from fusion_pipeline.compare.results import Outcome, fusion_weights, summarise
from fusion_pipeline.compare.spec import CompareSpec
from fusion_pipeline.reporting.heatmap import save_heatmap
from fusion_pipeline.run import Run
from fusion_pipeline.workflow import command_line, write_json


def write_report(
    run: Run,
    spec: CompareSpec,
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    notes: Sequence[str] = (),
    latency: bool = True,
) -> None:
    """Writes the report of the outcomes into the folder and prints the table."""
    rows = summarise(outcomes)
    weights = fusion_weights(outcomes)
    with store.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "results.json", {"rows": to_json(rows), "fusion_weights": weights})
        if weights:
            save_heatmap(weights, folder / "fusion_weights.png")
        report = markdown(rows, outcomes, weights, command_line())
        (folder / "report.md").write_text(report, encoding="utf-8")
    show(run.console, rows)
    for note in notes:
        run.console.print(note, soft_wrap=True, markup=False)
    run.console.print(f"saved: {folder / 'report.md'}", soft_wrap=True)
