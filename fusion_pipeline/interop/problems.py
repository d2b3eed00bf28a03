"""What is wrong with a foreign file, all of it at once."""

from __future__ import annotations

from fusion_pipeline.errors import PipelineError


class Problems:
    """Collects what is wrong with one object and refuses it with the whole list."""

    def __init__(self, what: str, where: str) -> None:
        self.what, self.where = what, where
        self.found: list[str] = []

    def add(self, problem: str) -> None:
        """Notes a problem."""
        self.found.append(problem)

    def refuse(self, *, hint: str | None = None) -> None:
        """Raises `PipelineError` with everything noted; does nothing where nothing was."""
        if self.found:
            listed = "\n    ".join(self.found)
            raise PipelineError(f"{self.what}:\n    {listed}", where=self.where, hint=hint)
