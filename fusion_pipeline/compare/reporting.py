"""The report of finished runs: results.json, report.md, report.html and plots in one folder, and a table on screen."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.compare.html import html
from fusion_pipeline.compare.latency import load_outcome, measure_latencies
from fusion_pipeline.compare.markdown import markdown
from fusion_pipeline.compare.pictures import draw_pictures
from fusion_pipeline.compare.report import Report, build_report
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.compare.sections import sections
from fusion_pipeline.compare.terminal import show
from fusion_pipeline.reporting.tracking_comparison import track_comparison
from fusion_pipeline.run import Run
from fusion_pipeline.workflow import command_line, write_json

# What the table at wandb has of each row, beside mean and standard deviation of the metric on both splits.
_PLAIN = ("target", "contender", "train_size", "metric", "seeds", "trainable", "stored", "seconds", "latency")
_SCORES = ("validation", "validation_sd", "test", "test_sd")


def write_report(
    run: Run,
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    notes: Sequence[str] = (),
    latency: bool = True,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Reads the finished runs `outcomes` and leaves their report in `folder`.

    `notes` are sentences on how settings were selected; `latency` says whether answering is timed, which loads a
    model of every contender; `extra` goes into results.json. Called on the main process alone.
    """
    if not outcomes:
        return
    measured, missing = measure_latencies(outcomes, load_outcome) if latency else ({}, [])
    report = build_report(outcomes, command=command_line(), latency=measured, notes=notes, caveats=missing)
    save_report(report, folder, extra)
    _track(run, report, folder)
    show(run.console, report)
    run.console.print(f"saved: {folder / 'report.html'} and report.md beside it", soft_wrap=True)


def _track(run: Run, report: Report, folder: Path) -> None:
    table = [
        [*(getattr(row, name) for name in _PLAIN), *row.validation, *row.test, row.peak_memory]
        for row in report.rows
    ]
    columns = (*_PLAIN, *_SCORES, "peak_memory")
    track_comparison(
        run, name=folder.name, columns=columns, rows=table, folder=folder, weights=report.weights
    )


def save_report(report: Report, folder: Path, extra: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Writes every file of a report; each appears whole."""
    title, parts, pictures = title_of(report), sections(report), draw_pictures(report)
    with store.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            _whole(folder / f"{name}.svg", picture.svg.encode())
            _whole(folder / f"{name}.png", picture.png)
        aside = folder / ".results.json"
        write_json(aside, {**extra, **report.to_json()})
        aside.replace(folder / "results.json")
        _whole(folder / "report.md", markdown(title, parts, pictures, report.command).encode())
        _whole(folder / "report.html", html(title, report, parts, pictures).encode())


def title_of(report: Report) -> str:
    """What is compared on what."""
    others = list(dict.fromkeys(r.contender for r in report.rows if r.contender != report.reference))
    targets = list(dict.fromkeys(row.target for row in report.rows))
    against = f"{_few(others)} against {report.reference}" if others else report.reference
    return f"{against} on {_few(targets)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _whole(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content)
    aside.replace(path)
