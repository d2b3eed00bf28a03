"""Collects what is wrong with single rows of a file and says it in one error."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError

_SHOWN = 5


class Problems:
    """Bad rows of one table: the first few are shown, all are counted."""

    def __init__(self, name: str, unit: str = "line") -> None:
        self.name, self.unit, self.count = name, unit, 0
        self._first: list[tuple[int, str]] = []

    def add(self, line: int, why: str) -> None:
        """Notes one bad row; `why` goes on after the line number ('has no label')."""
        self.count += 1
        if len(self._first) < _SHOWN:
            self._first.append((line, why))

    def check(self, total: int, hint: str = "correct these rows or take them out") -> None:
        """Raises if any row was bad."""
        if not self.count:
            return
        shown = [f"    {self.unit} {line} {why}" for line, why in self._first]
        if self.count > len(self._first):
            shown.append(f"    … and {self.count - len(self._first):,} more")
        rows = "row" if self.count == 1 else "rows"
        raise PipelineError(
            "\n".join([f"{self.count:,} {rows} of {total:,} in {self.name} cannot be used:", *shown]),
            where=f"{self.name}, {self.unit} {self._first[0][0]}",
            hint=hint,
        )
