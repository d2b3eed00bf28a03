"""The adapters of a fusion dropped one by one, the weakest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Look:
    """A fusion over some of its adapters: what it scores on validation, how fast, and the weights it gives.

    `weights` is {task: {site: {"weights": {adapter: mean over real tokens}}}}, `speed` in examples a second.
    """

    adapters: tuple[str, ...]
    validation: dict[str, float]
    score: float
    speed: float
    weights: dict[str, Any]

    @property
    def mass(self) -> dict[str, float]:
        """|mean weight| of each adapter, averaged over tasks and sites; 0 where it has no site."""
        sites = [site["weights"] for task in self.weights.values() for site in task.values()]
        return {name: sum(abs(w.get(name, 0.0)) for w in sites) / len(sites) for name in self.adapters}


def drop_weakest(
    adapters: Sequence[str],
    look: Callable[[tuple[str, ...]], Look],
    *,
    keep: int | None = None,
    tolerance: float | None = None,
) -> tuple[list[Look], Look]:
    """(every step, the one to stay with): the adapter with the least mass goes, and the rest is looked at anew.

    Ends with `keep` adapters or, with `tolerance`, before the first step whose score is lower than that of all
    adapters by more than it; that step is told too.
    """
    steps = [look(tuple(adapters))]
    best = steps[0]
    while len(best.adapters) > (1 if keep is None else keep):
        weakest = min(best.adapters, key=best.mass.__getitem__)
        steps.append(look(tuple(name for name in best.adapters if name != weakest)))
        # The slack is for what floating point adds to a difference of two metrics.
        if tolerance is not None and steps[0].score - steps[-1].score > tolerance + 1e-9:
            break
        best = steps[-1]
    return steps, best


def as_json(steps: Sequence[Look], kept: Look, test: Mapping[str, float]) -> dict[str, Any]:
    """What `prune.json` says."""
    told = []
    for number, step in enumerate(steps):
        gone = set(steps[number - 1].adapters) - set(step.adapters) if number else set()
        told.append(
            {
                "adapters": list(step.adapters),
                "dropped": next(iter(gone), None),
                "mass": step.mass,
                "validation": step.validation,
                "examples_per_second": step.speed,
                "relative_speed": step.speed / steps[0].speed,
            }
        )
    return {"kept": list(kept.adapters), "steps": told, "test": dict(test)}
