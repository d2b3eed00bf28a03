"""The one error a person sees: what was wrong, where, and what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """A mistake in the input or the surroundings, told to a person.

    Args:
        what: What is wrong, in one sentence.
        where: The place: file and line, or config key.
        hint: What to try.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(self.render())

    def render(self) -> str:
        """The error as plain text: one line for what, one for where, one for what to try."""
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  try:   {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword arguments do not survive pickling (multirun workers) by themselves.
        return (_rebuild, (self.what, self.where, self.hint))


def _rebuild(what: str, where: str | None, hint: str | None) -> PipelineError:
    return PipelineError(what, where=where, hint=hint)


def require(holds: bool, key: str, value: object, wanted: str) -> None:
    """Refuses the setting `key` unless `holds`; `wanted` says what would."""
    if not holds:
        raise PipelineError(f"{key}={value} is out of range", where=key, hint=wanted)


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """'did you mean X?' for the nearest option, else the list of all options."""
    known = sorted(set(options))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    listed = ", ".join(known) if known else "none"
    return f"did you mean '{near[0]}'? (there are: {listed})" if near else f"one of: {listed}"
