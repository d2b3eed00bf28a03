"""A merge, wholly checked and not yet begun: which modules, of what rank, with which weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.compatible import absent, check_modules, check_sources
from fusion_pipeline.merging.draws import Draws
from fusion_pipeline.merging.method import MergeMethod
from fusion_pipeline.merging.paths import bare, wrappers
from fusion_pipeline.merging.source import PARAMETERS, Entry, Source
from fusion_pipeline.merging.tensor_file import dtype_of
from fusion_pipeline.merging.weights import Weights
from fusion_pipeline.store.integrity import sha256

if TYPE_CHECKING:
    from fusion_pipeline.merging.merged import Merged
    from fusion_pipeline.merging.update import Update

DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `merged()` will do. Building it checks everything but the numbers in the files.

    Args:
        sources: The opened adapters.
        method: How they are merged.
        weights: One for each; None for 1 each.
        layer_weights: Other weights for parts of the model (`weights.Weights`).
        rank: R of the result; None for what the method keeps by itself.
        dtype: Of the result; None for the widest of the inputs.
        seed: Of the random methods.
        same_base: Take the inputs' base models for one, whatever they are called.

    Raises `PipelineError` for whatever cannot be merged, with the list of what differs.
    """

    sources: Sequence[Source]
    method: MergeMethod
    weights: Sequence[float] | None = None
    layer_weights: Mapping[str, Sequence] = field(default_factory=dict)
    rank: int | None = None
    dtype: str | None = None
    seed: int = 0
    same_base: bool = False

    def __post_init__(self) -> None:
        check_sources(self.sources, same_base=self.same_base)
        if self.rank is not None and (self.rank < 1 or self.kind == PARAMETERS):
            hint = "1 or more" if self.kind != PARAMETERS else "bottleneck adapters keep their width"
            raise PipelineError(f"rank={self.rank} is out of range", where="rank", hint=hint)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise PipelineError(f"there is no dtype '{self.dtype}'", where="dtype", hint=", ".join(DTYPES))
        check_modules(self.sources, self.entries, widths_add=self.method.widths_add)
        ranks = [{path: entry.rank for path, entry in own.items()} for own in self.entries]
        self.method.check(ranks, parameters=self.kind == PARAMETERS)
        for weights in {*self.module_weights.values(), tuple(self._weights.plain or ())}:
            self.method.check_weights(weights)
            self.method.prepared(weights)
        _ = self.ranks

    @property
    def kind(self) -> str:
        """`updates` or `parameters`."""
        return self.sources[0].kind if self.sources else ""

    @cached_property
    def wrappers(self) -> list[str]:
        """The word before each input's paths that the others have not."""
        return wrappers([list(s.entries) for s in self.sources], [s.name for s in self.sources])

    @cached_property
    def entries(self) -> list[dict[str, Entry]]:
        """Every input's modules by the paths they have in common."""
        pairs = zip(self.sources, self.wrappers, strict=True)
        return [{bare(path, word): entry for path, entry in s.entries.items()} for s, word in pairs]

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """Every module that any input has, in the first one's order."""
        return tuple(dict.fromkeys(path for own in self.entries for path in own))

    @cached_property
    def absent(self) -> dict[str, list[str]]:
        """{input: modules that it lacks}: a zero update of each."""
        return absent(self.sources, self.entries)

    @cached_property
    def module_weights(self) -> dict[str, tuple[float, ...]]:
        """The weights of each module, not yet normalised."""
        return self._weights.over(self.modules)

    @cached_property
    def outer(self) -> dict[str, tuple[int, int]]:
        """(D_out, D_in) of each module."""
        return {path: entry.outer for own in reversed(self.entries) for path, entry in own.items()}

    @cached_property
    def ranks(self) -> dict[str, int]:
        """R of each merged module; a bottleneck's width."""
        return {path: self._rank(path) for path in self.modules}

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """sha256 of every input's weights."""
        return tuple(sha256(source.file) for source in self.sources)

    @cached_property
    def out_dtype(self) -> str:
        """The floating-point type of the result."""
        found = {dtype_of(source.file) for source in self.sources}
        widest = min(found, key=DTYPES.index)
        return self.dtype or ("float32" if found == {"bfloat16", "float16"} else widest)

    @cached_property
    def _weights(self) -> Weights:
        return Weights(count=len(self.sources), plain=self.weights, layered=self.layer_weights)

    def first_path(self, path: str) -> str:
        """A module's path in the naming of the first input."""
        word = self.wrappers[0]
        return f"{word}.{path}" if word else path

    def draws(self, path: str) -> Draws:
        """The random numbers of a module."""
        return Draws(seed=self.seed, inputs=self.digests).of(path)

    def merged(self) -> Iterator[Merged]:
        """Module by module: read, merged, handed on. Nothing else is in memory."""
        from fusion_pipeline.merging.merged import merged_module

        return (merged_module(self, path) for path in self.modules)

    def check_numbers(self) -> None:
        """Reads every tensor once: NaN, infinite numbers and truncated files are refused before anything is written."""
        for source in self.sources:
            for path in source.entries:
                source.tensors(path)

    def updates(self, path: str) -> list[Update]:
        """The inputs' updates of one module, rank 0 where an input lacks it."""
        from fusion_pipeline.merging.merged import zero_update

        return [
            source.update(f"{word}.{path}" if word else path)
            if path in own
            else zero_update(self.outer[path])
            for source, word, own in zip(self.sources, self.wrappers, self.entries, strict=True)
        ]

    def _rank(self, path: str) -> int:
        own = [entries[path].rank for entries in self.entries if path in entries]
        if self.kind == PARAMETERS:
            return sum(own) if self.method.widths_add else own[0]
        return self.method.rank(own, self.rank, limit=max(min(self.outer[path]), *own, 1))
