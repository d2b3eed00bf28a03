"""From a file's keys to A and B of each module, with everything that is not such a pair named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.merging.source import Entry

_PARTS = {"A": "down", "B": "up"}


def paired(
    shapes: Mapping[str, tuple[int, ...]],
    key_parts: Callable[[str], tuple[str, str] | None],
    problems: Problems,
    *,
    transposed: bool = False,
) -> dict[str, Entry]:
    """{path: entry} of a file; a key that is no LoRA matrix (DoRA's magnitude, a bias, an embedding), half a pair
    and shapes that do not multiply are refused together.
    """
    keys, sizes = dict[str, dict[str, str]](), dict[str, dict[str, tuple[int, ...]]]()
    for key, shape in shapes.items():
        parts = key_parts(key)
        if parts is None:
            problems.add(f"{key}: no LoRA matrix of a linear")
            continue
        path, side = parts[0], _PARTS[parts[1]]
        keys.setdefault(path, {})[side] = key
        sizes.setdefault(path, {})[side] = shape[::-1] if transposed else shape
    for path, found in sizes.items():
        _check(path, found, problems)
    if not sizes:
        problems.add("there is no LoRA matrix")
    problems.refuse(hint="save it without these, or merge them into the base model first")
    return {path: Entry(keys=keys[path], shapes=sizes[path]) for path in keys}


def _check(path: str, found: Mapping[str, tuple[int, ...]], problems: Problems) -> None:
    if set(found) != {"down", "up"}:
        problems.add(f"{path}: {'B' if 'down' in found else 'A'} is missing")
        return
    down, up = found["down"], found["up"]
    if len(down) != 2 or len(up) != 2 or down[0] != up[1] or down[0] == 0:
        problems.add(f"{path}: A {down} and B {up} do not multiply")
