"""The findings as pictures, drawn without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_pipeline.inspection.palette import colour, line
from fusion_pipeline.reporting.heatmap import draw_weights
from fusion_pipeline.training.weights import mean_over_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 6  # parts that get a heatmap of their own


def draw_all(found: Mapping[str, Any]) -> dict[str, Figure]:
    """{file name without .png: picture}."""
    targets = found["targets"]
    pictures = {"weights": draw_weights({task: told["weights"] for task, told in targets.items()})}
    pictures["entropy"] = draw_entropy({task: told["weights"] for task, told in targets.items()})
    for task, told in targets.items():
        for facet, parts in told["facets"].items():
            pictures[f"by_{facet}-{task}".replace(" ", "_")] = draw_parts(parts, found["adapters"])
    if found["history"]:
        pictures["training"] = draw_history(found["history"])
        pictures["training_by_site"] = draw_history_by_site(found["history"])
    if all(told["effects"] for told in targets.values()) and len(found["adapters"]) > 1:
        pictures["effects"] = draw_effects(targets, found["adapters"])
    if found["redundancy"]:
        pictures["redundancy"] = draw_redundancy(found["redundancy"], found["adapters"])
    return pictures


def draw_parts(parts: Mapping[str, Any], adapters: Sequence[str]) -> Figure:
    """A heatmap site × adapter for each part, or one of part × adapter where there are many parts."""
    if len(parts) <= MOST_PANELS:
        return draw_weights(
            {part: {key: {"weights": w} for key, w in told["sites"].items()} for part, told in parts.items()}
        )
    rows = {
        part: {"weights": {name: told["mean"][name] for name in adapters}} for part, told in parts.items()
    }
    return draw_weights({"mean over sites": rows})


def draw_entropy(targets: Mapping[str, Any]) -> Figure:
    """Normalised entropy by site, one line a target."""
    figure, axis = _figure(6.4, 3.2)
    for index, (task, sites) in enumerate(targets.items()):
        values = [site["normalised_entropy"] for site in sites.values()]
        drawn = [float("nan") if value is None else value for value in values]
        axis.plot(
            range(len(sites)), drawn, marker="o", color=colour(index), linestyle=line(index), label=task
        )
        axis.set_xticks(range(len(sites)), list(sites), rotation=40, ha="right")
    axis.set_ylim(0, 1.05)
    axis.set_ylabel("entropy / log N")
    axis.set_title("1: all adapters alike, 0: one alone")
    axis.legend()
    return figure


def draw_history(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Each adapter's mean weight at every evaluation of the training, one panel a target."""
    from matplotlib.figure import Figure

    tasks = list(history[0]["tasks"])
    figure = Figure(figsize=(1.2 + 4.4 * len(tasks), 3.6), layout="constrained")
    steps = [entry["step"] for entry in history]
    for axis, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        means = [mean_over_layers({"": entry["tasks"][task]})[""] for entry in history]
        for index, name in enumerate(means[0]):
            values = [mean[name] for mean in means]
            axis.plot(steps, values, marker=".", color=colour(index), linestyle=line(index), label=name)
        axis.set_title(f"{task}: mean weight on validation")
        axis.set_xlabel("training step")
        axis.legend(fontsize="small")
    return figure


def draw_history_by_site(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Site × evaluation heatmaps, a column for each adapter and a row for each target."""
    from matplotlib.figure import Figure

    tasks = list(history[0]["tasks"])
    sites = list(history[0]["tasks"][tasks[0]])
    names = list(dict.fromkeys(n for site in history[0]["tasks"][tasks[0]].values() for n in site["weights"]))
    size = (1.5 + 2.4 * len(names), (1.2 + 0.3 * len(sites)) * len(tasks))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(tasks), len(names), squeeze=False)
    tables = {
        (t, n): _over_time(history, task, sites, name)
        for t, task in enumerate(tasks)
        for n, name in enumerate(names)
    }
    low, high = min(0.0, *(t.min() for t in tables.values())), max(1.0, *(t.max() for t in tables.values()))
    for (row, column), table in tables.items():
        axis = axes[row][column]
        image = axis.imshow(table, cmap="viridis", vmin=low, vmax=high, aspect="auto", origin="lower")
        axis.set_title(
            names[column] if len(tasks) == 1 else f"{tasks[row]}: {names[column]}", fontsize="small"
        )
        axis.set_yticks(range(len(sites)), sites if column == 0 else [""] * len(sites), fontsize="x-small")
        ticks = np.unique(np.linspace(0, len(history) - 1, min(4, len(history))).astype(int))
        axis.set_xticks(ticks, [str(history[i]["step"]) for i in ticks], fontsize="x-small")
    figure.supxlabel("training step")
    figure.colorbar(image, ax=axes, label="mean weight", shrink=0.8)
    return figure


def _over_time(
    history: Sequence[Mapping[str, Any]], task: str, sites: Sequence[str], name: str
) -> np.ndarray:
    """(sites, evaluations)."""
    return np.array(
        [[entry["tasks"][task][site]["weights"].get(name, 0.0) for entry in history] for site in sites]
    )


def draw_effects(targets: Mapping[str, Any], adapters: Sequence[str]) -> Figure:
    """Attention weight beside what is lost without the adapter, with its interval; a row for each target."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, (1.1 + 0.42 * len(adapters)) * len(targets)), layout="constrained")
    axes = figure.subplots(len(targets), 2, squeeze=False)
    for (task, told), (left, right) in zip(targets.items(), axes, strict=True):
        places = np.arange(len(adapters))[::-1]
        left.barh(
            places, [told["mean"][name] for name in adapters], color=[colour(i) for i in range(len(adapters))]
        )
        left.set_yticks(places, list(adapters))
        left.set_title(f"{task}: mean weight")
        _draw_losses(right, places, [told["effects"]["without"][name] for name in adapters])
        right.set_title(f"{told['metric']} without it, 95 % interval over examples")
    return figure


def _draw_losses(axis: Axes, places: np.ndarray, losses: Sequence[Mapping[str, float]]) -> None:
    for index, (place, one) in enumerate(zip(places, losses, strict=True)):
        axis.plot([one["low"], one["high"]], [place, place], color=colour(index), linewidth=2)
        axis.plot([one["difference"]], [place], marker="o", color=colour(index))
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(places, [""] * len(places))
    axis.set_ylim(-0.6, len(places) - 0.4)


def draw_redundancy(redundancy: Mapping[str, Any], adapters: Sequence[str]) -> Figure:
    """CKA adapter × adapter: the mean, and every site."""
    from matplotlib.figure import Figure

    tables = {"mean over sites": _table(redundancy["mean"])}
    names = {"mean over sites": list(adapters)}
    for site, told in redundancy["sites"].items():
        tables[site], names[site] = _table(told["cka"]), told["adapters"]
    columns = min(4, len(tables))
    rows = -(-len(tables) // columns)
    width = 1.4 + 0.5 * len(adapters)
    figure = Figure(figsize=(width * columns, (width - 0.2) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (title, table) in zip(axes, tables.items(), strict=False):
        image = axis.imshow(table, cmap="viridis", vmin=0, vmax=1)
        axis.set_title(title, fontsize="small")
        ticks = range(len(names[title]))
        axis.set_xticks(ticks, names[title], rotation=40, ha="right", fontsize="x-small")
        axis.set_yticks(ticks, names[title], fontsize="x-small")
        for (row, column), value in np.ndenumerate(table):
            ink = "white" if value < 0.6 else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize="x-small")
    for axis in axes[len(tables) :]:
        axis.remove()
    figure.colorbar(image, ax=axes[: len(tables)].tolist(), label="linear CKA", shrink=0.8)
    return figure


def _table(values: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in line] for line in values])


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()
