"""What an embedded task is: labels, sizes and the function that makes one example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.tasks.embedded.draw import Draw


@dataclass(frozen=True, kw_only=True)
class Example:
    """One text, or one pair of texts, or the fields of another type's row: (name, value), lists as tuples.

    `label` is what the example was asked for, unless the grammar finds it while making the example. `decided_by`
    names the source task that settles it, if one does.
    """

    text: str | None = None
    text_pair: str | None = None
    fields: tuple[tuple[str, Any], ...] = ()
    label: Any = field(default=None, compare=False)
    decided_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class EmbeddedTask:
    """A task of the embedded corpus.

    `make(draw, split, wanted)` gives one example of what is wanted, made of content that belongs to the split.
    Wanted are in turn, as often each, the labels, or what `wants` lists where there are no labels or several at once.
    `composed_of` names the source tasks that the label is a function of (empty for a source task itself).
    `label` is the label's column.
    """

    name: str
    labels: tuple[str, ...] | None
    pair: bool = False
    doc: str
    sizes: Mapping[str, int]
    make: Callable[[Draw, str, Any], Example] = field(repr=False, compare=False)
    wants: tuple[Any, ...] = ()
    composed_of: tuple[str, ...] = ()
    type: str = "classification"
    metric: str = "accuracy"
    label: str = "label"

    def __post_init__(self) -> None:
        if not self.wants:
            object.__setattr__(self, "wants", tuple(self.labels or ()))
