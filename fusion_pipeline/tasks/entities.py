"""Entities in B-/I- tags, scored whole: an entity is right if its type, first and last word are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

Entity = tuple[str, int, int]


def is_bio(labels: Sequence[str]) -> bool:
    """Whether tags are O, B-x and I-x, with one B- or I- at least."""
    marked = [label.startswith(("B-", "I-")) for label in labels]
    return any(marked) and all(mark or label == "O" for mark, label in zip(marked, labels, strict=True))


def entities(tags: Sequence[str | None]) -> set[Entity]:
    """(type, first word, last word) of every entity.

    As CoNLL's own script has it, an I- that continues no entity of its type begins one.
    """
    found: set[Entity] = set()
    kind, first = "", 0
    for position, tag in enumerate([*tags, "O"]):
        mark, _, name = (tag or "O").partition("-")
        goes_on = mark == "I" and name == kind
        if kind and not goes_on:
            found.add((kind, first, position - 1))
            kind = ""
        if mark in ("B", "I") and not goes_on:
            kind, first = name, position
    return found


def entity_scores(predictions: Any, references: Any) -> dict[str, float]:
    """Micro F1, precision and recall of entities over all rows of tags, through `evaluate`."""
    said = [[tag or "O" for tag in row] for row in predictions]
    scores: dict[str, float] = _metric().compute(predictions=said, references=references)
    return scores


def score_entities(predictions: Any, references: Any) -> dict[str, float]:
    """F1 = 2·hits / (predicted + right), precision = hits / predicted, recall = hits / right; 0 for 0 / 0."""
    hits = predicted = right = 0
    for said, true in zip(predictions, references, strict=True):
        mine, theirs = entities(said), entities(true)
        hits, predicted, right = hits + len(mine & theirs), predicted + len(mine), right + len(theirs)
    return {
        "f1": 2 * hits / max(predicted + right, 1),
        "precision": hits / max(predicted, 1),
        "recall": hits / max(right, 1),
    }


@cache
def _metric() -> Any:
    from fusion_pipeline.tasks.entity_metric import EntityMetric

    return EntityMetric(keep_in_memory=True)
