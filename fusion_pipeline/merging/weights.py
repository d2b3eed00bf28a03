"""How much of each input: one weight each, other ones for layers or modules, gradients over depth."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.paths import layer_of

_LAYERS = re.compile(r"^(\d+)(?:-(\d+))?$")
Rule = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of N inputs.

    Args:
        plain: One for each input; None for 1 each.
        layered: {pattern: weights} for parts of the model, later ones winning. A pattern is a layer `3`, layers
            `0-3` or a glob over modules' paths (`*query*`, `*`). Its weights are a list of N, or a list of such
            lists: a gradient, whose points are spread evenly from the lowest matching layer to the highest, with
            straight lines between.

    Raises `PipelineError` for other numbers of weights than inputs, weights that are not finite, and none but zeros.
    """

    count: int
    plain: Sequence[float] | None = None
    layered: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = tuple(self.plain) if self.plain is not None else (1.0,) * self.count
        object.__setattr__(self, "plain", self._checked(given, "weights"))
        for key, value in self.layered.items():
            self._rule(key, value)
        if not any(given) and self.plain is not None:
            raise PipelineError(
                "all weights are zero: nothing would be merged", where="weights", hint="weights=[0.7,0.3]"
            )

    def over(self, paths: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """The weights of every module; a pattern that matches none is refused."""
        found = dict.fromkeys(paths, tuple(self.plain or ()))
        for pattern, value in self.layered.items():
            points = self._rule(pattern, value)
            matching = [path for path in paths if matches(pattern, path)]
            if not matching:
                raise PipelineError(
                    f"'{pattern}' matches no module",
                    where="layer_weights",
                    hint=f"a layer 3, layers 0-3, or a pattern for paths such as {paths[0]}",
                )
            depths = depth(matching)
            found |= {path: _between(points, depths[path]) for path in matching}
        return found

    def _rule(self, key: str, value: object) -> Rule:
        where = f"layer_weights.{key}"
        if not isinstance(value, list | tuple) or not value:
            raise PipelineError(
                f"{value!r} is no list of weights", where=where, hint="{0-3:[1,0]} or {*:[[1,0],[0,1]]}"
            )
        nested = [isinstance(point, list | tuple) for point in value]
        points = value if all(nested) else [value]
        return tuple(self._checked(tuple(point), where) for point in points)

    def _checked(self, given: Sequence[object], where: str) -> tuple[float, ...]:
        if len(given) != self.count:
            raise PipelineError(
                f"there are {self.count} adapters and {len(given)} weights: {list(given)}",
                where=where,
                hint="one weight for each adapter, in their order",
            )
        numbers = [float(w) for w in given if isinstance(w, int | float) and not isinstance(w, bool)]
        if len(numbers) != len(given) or not all(map(math.isfinite, numbers)):
            raise PipelineError(f"{list(given)} are not all finite numbers", where=where)
        return tuple(numbers)


def matches(pattern: str, path: str) -> bool:
    """Whether a module belongs to a layer, to a range of layers, or to a glob over paths."""
    layers = _LAYERS.match(pattern)
    if layers is None:
        return fnmatch.fnmatchcase(path, pattern)
    number = layer_of(path)[1]
    return number is not None and int(layers[1]) <= number <= int(layers[2] or layers[1])


def depth(paths: Sequence[str]) -> dict[str, float]:
    """0 for the lowest of these layers to 1 for the highest, each stack by itself; paths without a layer at 1."""
    numbers: dict[str, list[int]] = {}
    for stack, layer in map(layer_of, paths):
        numbers.setdefault(stack, []).extend([] if layer is None else [layer])
    found = {}
    for path in paths:
        stack, layer = layer_of(path)
        low, high = min(numbers[stack], default=0), max(numbers[stack], default=0)
        found[path] = 1.0 if layer is None else (layer - low) / (high - low) if high > low else 0.0
    return found


def _between(points: Rule, place: float) -> tuple[float, ...]:
    position = place * (len(points) - 1)
    low = min(int(position), max(len(points) - 2, 0))
    high, share = min(low + 1, len(points) - 1), position - low
    return tuple((1 - share) * a + share * b for a, b in zip(points[low], points[high], strict=True))
