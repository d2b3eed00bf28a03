"""By what an inspection tells examples apart: their labels and, where it is known, the source task that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_pipeline.tasks.embedded import TASKS, deciders, generate
from fusion_pipeline.tasks.parts import Parts, by_number
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.encoding import Encoded

LABEL, DECIDER = "label", "decided by"


def facets_of(spec: TaskSpec, encoded: Encoded) -> dict[str, Parts]:
    """{facet: parts}; a facet without parts is left out."""
    found = {LABEL: task_type(spec.type).parts(encoded, spec.labels)}
    known = known_composition(spec.name, encoded.rows)
    if known is not None:
        found[DECIDER] = known
    return {name: parts for name, parts in found.items() if parts.names}


def known_composition(name: str, rows: Sequence[Mapping[str, Any]]) -> Parts | None:
    """Of a composed target of the embedded corpus: which source task settles each row; None for all others."""
    if name not in TASKS or not TASKS[name].composed_of:
        return None
    settled = {
        _key(row): decider
        for split, made in generate(name).items()
        for row, decider in zip(made, deciders(name)[split], strict=True)
    }
    found = [settled.get(_key(row)) for row in rows]
    sources = TASKS[name].composed_of
    if any(decider not in sources for decider in found):
        return None  # other data under the same name
    return by_number(sources, [sources.index(str(decider)) for decider in found])


def _key(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return row.get("text"), row.get("text_pair")
