"""What a comparison runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean

CONTENDERS = ("single", "fusion")


@dataclass(frozen=True, kw_only=True)
class CompareSpec:
    """A comparison's settings.

    `seeds`: a number n (seeds 0 … n-1) or the seeds themselves, for the contenders; the source adapters are
    trained once, with the run's own seed. `single` and `fusion` hold config sections (`trainer: {…}`) laid
    over the run's for that contender, `sources` those for the source adapters.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    contenders: tuple[str, ...] = CONTENDERS
    sources: dict[str, Any] = field(default_factory=dict)
    single: dict[str, Any] = field(default_factory=dict)
    fusion: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "contenders", tuple(self.contenders))
        if not self.seeds or any(seed < 0 for seed in self.seeds):
            raise PipelineError(
                "a comparison needs seeds of 0 or more", where="compare.seeds", hint="[0,1,2]"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise PipelineError("a seed is named twice", where="compare.seeds", hint="name each once")
        for name in self.contenders:
            if name not in CONTENDERS:
                raise PipelineError(
                    f"there is no contender '{name}'",
                    where="compare.contenders",
                    hint=did_you_mean(name, CONTENDERS),
                )

    def overlay(self, contender: str) -> dict[str, Any]:
        """The config sections laid over the run's for a contender."""
        found: dict[str, Any] = getattr(self, contender)
        return found
