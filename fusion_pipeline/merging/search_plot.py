"""A search as a picture: every candidate's validation value, and the weights it had."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_trace(record: dict[str, Any], path: Path) -> None:
    """The metric of each candidate with the best so far, above; its weights, below. Written as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    metric, adapters = record["metric"], record["adapters"]
    merges = record["trace"][len(adapters) :]
    values, numbers = [one["validation"][metric] for one in merges], range(1, len(merges) + 1)
    above.plot(numbers, values, "o", markersize=3, label="candidate")
    best = [max(values[:n]) for n in numbers]
    above.step(numbers, best, where="post", label="best so far")
    for one in record["trace"][: len(adapters)]:
        above.axhline(one["validation"][metric], linewidth=0.8, linestyle=":", color="grey")
    above.set_ylabel(f"validation {metric}")
    above.set_title(f"{record['task']}: dotted lines are the inputs alone")
    above.legend()
    for number, name in enumerate(adapters):
        below.plot(
            numbers, [_weight(one, number, len(adapters)) for one in merges], ".-", linewidth=0.6, label=name
        )
    below.set_ylabel("weight (mean over groups)")
    below.set_xlabel("candidate")
    below.legend(fontsize="small")
    aside = path.with_name(f".{path.name}")
    figure.savefig(aside, dpi=130, format="png")
    aside.replace(path)


def _weight(one: dict[str, Any], adapter: int, count: int) -> float:
    rules = list(one["layer_weights"].values()) or [one["weights"] or [1.0] * count]
    return float(sum(rule[adapter] for rule in rules) / len(rules))
