"""Whether adapters can be merged at all; everything that differs is listed at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.merging.source import PARAMETERS, Entry, Source

_SHOWN = 8


def check_sources(sources: Sequence[Source], *, same_base: bool) -> None:
    """Refuses one folder twice, other kinds, and another base model."""
    if not sources:
        raise PipelineError("there is no adapter to merge", where="adapters", hint="adapters=[a,b]")
    seen: dict[object, str] = {}
    for source in sources:
        place = source.file.resolve()
        if place in seen:
            raise PipelineError(f"'{source.name}' is given twice: {place}", where="adapters")
        seen[place] = source.name
    kinds = {source.kind for source in sources}
    if len(kinds) > 1:
        listed = ", ".join(f"{s.name}: {'bottlenecks' if s.kind == PARAMETERS else 'LoRA'}" for s in sources)
        raise PipelineError(f"LoRA and bottleneck adapters cannot be merged ({listed})", where="adapters")
    _check_bases(sources, same_base)


def check_modules(
    sources: Sequence[Source], entries: Sequence[Mapping[str, Entry]], *, widths_add: bool
) -> None:
    """Refuses other shapes, and bottlenecks that compute otherwise or sit elsewhere."""
    problems = Problems("these adapters cannot be merged", "adapters")
    first: dict[str, tuple[str, Entry]] = {}
    for source, own in zip(sources, entries, strict=True):
        for path, entry in own.items():
            name, other = first.setdefault(path, (source.name, entry))
            if other.outer != entry.outer:
                problems.add(f"{path}: {name} is {_size(other)}, {source.name} is {_size(entry)}")
            elif source.kind == PARAMETERS and not widths_add and other.shapes != entry.shapes:
                problems.add(f"{path}: width {other.rank} in {name}, {entry.rank} in {source.name}")
    if sources[0].kind == PARAMETERS:
        _check_bottlenecks(sources, entries, problems)
    problems.found[_SHOWN:] = (
        [f"… {len(problems.found) - _SHOWN} more"] if len(problems.found) > _SHOWN else []
    )
    problems.refuse()


def absent(sources: Sequence[Source], entries: Sequence[Mapping[str, Entry]]) -> dict[str, list[str]]:
    """{name: modules that others have and this one has not}: zero updates there."""
    every = dict.fromkeys(path for own in entries for path in own)
    found = {s.name: [p for p in every if p not in own] for s, own in zip(sources, entries, strict=True)}
    return {name: missing for name, missing in found.items() if missing}


def _check_bases(sources: Sequence[Source], same_base: bool) -> None:
    for key in ("fingerprint", "name"):
        values = {getattr(s.base, key): s.name for s in sources if getattr(s.base, key) is not None}
        known = all(s.base.fingerprint is not None for s in sources)
        if len(values) > 1 and not same_base:
            listed = "; ".join(f"{name}: {str(value)[:60]}" for value, name in values.items())
            raise PipelineError(
                f"these adapters were trained on different base models ({listed})",
                where="adapters",
                hint="same_base=true where these are names of one model",
            )
        if known:
            return


def _check_bottlenecks(
    sources: Sequence[Source], entries: Sequence[Mapping[str, Entry]], problems: Problems
) -> None:
    one = sources[0]
    for other, own in zip(sources[1:], entries[1:], strict=True):
        for key in ("placement", "activation", "scaling"):
            if one.config[key] != other.config[key]:
                problems.add(f"{key}: {one.config[key]} in {one.name}, {other.config[key]} in {other.name}")
        # Zero parameters are no zero update to an average of parameters.
        for path in sorted(entries[0].keys() ^ own.keys()):
            problems.add(f"{path}: only in {one.name if path in entries[0] else other.name}")


def _size(entry: Entry) -> str:
    d_out, d_in = entry.outer
    return f"{d_in} to {d_out}"
