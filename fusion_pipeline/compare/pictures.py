"""The pictures of one report: which are drawn, what they are called, and what they show in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_pipeline.compare import plots
from fusion_pipeline.compare.report import Report
from fusion_pipeline.compare.words import short
from fusion_pipeline.reporting.heatmap import draw_weights

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One plot: its files' name, what it shows, and how it is drawn, as SVG and PNG."""

    name: str
    caption: str
    svg: str
    png: bytes

    @property
    def file(self) -> str:
        """Its SVG, beside the report."""
        return f"{self.name}.svg"


def draw_pictures(report: Report) -> dict[str, Picture]:
    """Every plot there is data for, by name."""
    return {name: _picture(name, caption, make) for name, (caption, make) in _wanted(report).items()}


def _picture(name: str, caption: str, make: Callable[[], Figure]) -> Picture:
    svg, png = plots.draw(name, make)
    return Picture(name=name, caption=caption, svg=svg, png=png)


def _wanted(report: Report) -> dict[str, tuple[str, Callable[[], Figure]]]:
    rows = report.full or report.rows
    names = list(dict.fromkeys(row.contender for row in report.rows))
    found: dict[str, tuple[str, Callable[[], Figure]]] = {}
    if report.tested:
        found["forest"] = (
            f"Differences to {report.reference} on test with their 95 % intervals; filled marks can be told from "
            "chance after correction, hollow ones cannot",
            lambda: plots.forest(report.tested, names),
        )
    found["parameters"] = (
        "Test metric against trainable parameters; bars are one standard deviation over runs",
        lambda: plots.against(rows, names, lambda row: row.trainable, "trainable parameters", log=True),
    )
    if any(row.latency for row in rows):
        found["latency"] = (
            f"Test metric against the time to answer a batch, relative to {report.reference}",
            lambda: plots.against(
                rows, names, lambda row: row.latency, f"latency, {report.reference} = 1", log=False
            ),
        )
    if report.few:
        found["few_examples"] = (
            "Test metric over the number of training examples; bands are one standard deviation over runs",
            lambda: plots.lines(report.few, names, "training examples", "test metric, %", log=True),
        )
    if report.learning:
        found["learning"] = (
            "Validation metric after each evaluation; bands are one standard deviation over runs",
            lambda: plots.lines(report.learning, names, "step", "validation metric, %", log=False),
        )
    if report.weights:
        found["fusion_weights"] = (
            "What the fusions listened to: mean weight of each adapter, by layer from the bottom up",
            lambda: draw_weights(_short_names(report.weights)),
        )
    return found


def _short_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Names that fit under a column, where they stay different."""
    return {
        short(task): {site: told | {"weights": _shortened(told["weights"])} for site, told in sites.items()}
        for task, sites in weights.items()
    }


def _shortened(weights: dict[str, float]) -> dict[str, float]:
    names = {name: short(name, 20) for name in weights}
    return weights if len(set(names.values())) < len(names) else {names[n]: w for n, w in weights.items()}
