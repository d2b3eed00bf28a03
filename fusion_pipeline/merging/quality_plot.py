"""A merge's figures by layer as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save_quality(found: Mapping[str, Any], path: Path) -> None:
    """Cosines and sign conflicts, norms, effective ranks by layer; the adapters' cosines as a table. Written as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    layers = found["layers"]
    names = ["other" if one["layer"] is None else str(one["layer"]) for one in layers]
    places = range(len(layers))
    _agreement(axes[0][0], places, layers)
    for number, adapter in enumerate(found["adapters"]):
        axes[0][1].plot(places, [one["norms"][number] for one in layers], ".-", linewidth=0.8, label=adapter)
    axes[0][1].plot(places, [one["norm"] for one in layers], "k.-", label="merge")
    axes[0][1].set_title("norm, mean over modules")
    _ranks(axes[1][0], places, layers)
    _cosines(figure, axes[1][1], found)
    for axis in (axes[0][0], axes[0][1], axes[1][0]):
        axis.set_xticks(list(places), names)
        axis.set_xlabel("layer")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    aside = path.with_name(f".{path.name}")
    figure.savefig(aside, dpi=130, format="png")
    aside.replace(path)


def _agreement(axis: Any, places: range, layers: list[dict[str, Any]]) -> None:
    axis.plot(places, [one["cosine"] for one in layers], ".-", label="mean cosine of pairs")
    axis.plot(places, [one["cosine_lowest"] for one in layers], ".:", label="lowest pair")
    axis.plot(places, [one["conflicts"] for one in layers], ".-", label="sign conflicts")
    axis.set_title("agreement")


def _ranks(axis: Any, places: range, layers: list[dict[str, Any]]) -> None:
    if layers[0]["effective_rank"] is None:
        axis.set_title("effective rank: none of bottlenecks")
        return
    axis.plot(places, [one["effective_rank_inputs"] for one in layers], ".-", label="inputs, mean")
    axis.plot(places, [one["effective_rank"] for one in layers], "k.-", label="merge")
    axis.set_title("effective rank")


def _cosines(figure: Any, axis: Any, found: Mapping[str, Any]) -> None:
    """Mean cosines over all modules."""
    import numpy as np

    table = np.mean([module["cosines"] for module in found["modules"]], axis=0)
    image = axis.imshow(table, vmin=-1, vmax=1, cmap="coolwarm")
    axis.set_xticks(range(len(table)), found["adapters"], rotation=30, ha="right")
    axis.set_yticks(range(len(table)), found["adapters"])
    for (row, column), value in np.ndenumerate(table):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize="small")
    axis.set_title("cosine of the updates")
    figure.colorbar(image, ax=axis, shrink=0.8)
