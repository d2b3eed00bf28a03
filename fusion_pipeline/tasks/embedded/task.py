"""What an embedded task is: labels, sizes and the function that makes one example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fusion_pipeline.tasks.embedded.draw import Draw


@dataclass(frozen=True, kw_only=True)
class Example:
    """One text, or one pair of texts; `decided_by` names the source task that settles its label, if one does."""

    text: str
    text_pair: str | None = None
    decided_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class EmbeddedTask:
    """A classification task of the embedded corpus.

    `make(draw, split, label)` gives one example with that label, made of content that belongs to the split.
    `composed_of` names the source tasks that the label is a function of (empty for a source task itself).
    """

    name: str
    labels: tuple[str, ...]
    pair: bool
    doc: str
    sizes: Mapping[str, int]
    make: Callable[[Draw, str, str], Example] = field(repr=False, compare=False)
    composed_of: tuple[str, ...] = ()
    type: str = "classification"
    metric: str = "accuracy"
