"""Paths of modules: their layer, and the same module under the names that different libraries give it.

A path is `<stack>.<layer>.<rest>`: `encoder.layer.3.attention.self.query`. A library may wrap the model
(`bert.encoder.layer.3…`, `model.layers.3…`), so that the first word of the stack is one too many.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from fusion_pipeline.errors import PipelineError

# A layer's number is a word of its own: the 1 of `fc1` is none.
_PATH = re.compile(r"^(?:(?P<stack>.*?)\.)?(?P<layer>\d+)(?:\.|$)")
# Halves of a model; never a wrapper around one.
_HALVES = {"encoder", "decoder"}


def layer_of(path: str) -> tuple[str, int | None]:
    """(stack, layer number) of a module; no number where it lies outside of the layers."""
    match = _PATH.match(path)
    return (match["stack"] or "", int(match["layer"])) if match else (path, None)


def stacks(paths: Iterable[str]) -> set[str]:
    """The stacks of layers that paths lie in."""
    return {layer_of(path)[0] for path in paths}


def bare(path: str, wrapper: str) -> str:
    """The path without the wrapper's name."""
    return path.removeprefix(f"{wrapper}.") if wrapper else path


def wrappers(inputs: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    """The word that each input's paths have before the others', `""` where there is none.

    Raises `PipelineError` where stacks of layers cannot be the same under any wrapper.
    """
    choices = [("", *_wrapper(paths)) for paths in inputs]
    for chosen in sorted(itertools.product(*choices), key=lambda c: sum(map(bool, c))):
        found = [stacks(bare(p, w) for p in paths) for paths, w in zip(inputs, chosen, strict=True)]
        if all(found[0] & other for other in found):
            return list(chosen)
    listed = "; ".join(f"{n}: {min(paths)}" for n, paths in zip(names, inputs, strict=True))
    raise PipelineError(
        f"these adapters do not belong to one model: their modules are named otherwise ({listed})",
        where="adapters",
    )


def _wrapper(paths: Sequence[str]) -> list[str]:
    first = {path.split(".")[0] for path in paths}
    inside = all("." in stack for stack in stacks(paths))
    return list(first) if len(first) == 1 and inside and not first & _HALVES else []
