"""Fusion weights as a picture: layer × adapter, as in Pfeiffer et al. (2021), figure 4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS_ACROSS = 3


def weight_matrix(sites: dict[str, Any]) -> tuple[list[str], list[str], np.ndarray]:
    """(sites, adapters, mean weights (sites, adapters)) of one task; 0 where an adapter has no site."""
    adapters = list(dict.fromkeys(name for site in sites.values() for name in site["weights"]))
    table = [[site["weights"].get(name, 0.0) for name in adapters] for site in sites.values()]
    return list(sites), adapters, np.array(table)


def draw_weights(weights: dict[str, Any]) -> Figure:
    """One panel a task: rows are sites from the lowest layer up, columns adapters, numbers in the cells."""
    from matplotlib.figure import Figure

    panels = {task: weight_matrix(sites) for task, sites in weights.items()}
    # Scales may lie outside of 0 to 1.
    low = min(0.0, *(table.min() for _, _, table in panels.values()))
    high = max(1.0, *(table.max() for _, _, table in panels.values()))
    widest = max(len(adapters) for _, adapters, _ in panels.values())
    tallest = max(len(rows) for rows, _, _ in panels.values())
    across = min(len(panels), PANELS_ACROSS)
    down = -(-len(panels) // across)
    size = (across * (1.6 + 1.0 * widest), down * (1.6 + 0.42 * tallest))
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (task, (rows, adapters, table)) in zip(axes, panels.items(), strict=False):
        image = axis.imshow(table, cmap="viridis", vmin=low, vmax=high, aspect="auto")
        axis.set_title(task)
        axis.set_xticks(range(len(adapters)), adapters, rotation=30, ha="right")
        axis.set_yticks(range(len(rows)), rows)
        for (row, column), value in np.ndenumerate(table):
            # Dark cells want light ink.
            axis.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                color="white" if value < low + 0.6 * (high - low) else "black",
            )
        figure.colorbar(image, ax=axis, label="mean weight over tokens", shrink=0.8)
    return figure


def save_heatmap(weights: dict[str, Any], path: Path) -> None:
    """Writes the picture as PNG."""
    draw_weights(weights).savefig(path, dpi=150)
