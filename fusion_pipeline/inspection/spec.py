"""What is looked at, and how closely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry import true_or_false
from fusion_pipeline.tasks.spec import SPLITS


@dataclass(frozen=True, kw_only=True)
class InspectSpec:
    """Settings of an inspection.

    `split` is looked at, `limit` examples of it at most, drawn with the run's seed (None: all). `examples`: how many
    are told for each adapter. `sentences`: how many examples are shown token by token where no text is given.
    `effects`: whether adapters are left out and tried alone, which scores the split 2N + 2 times.
    `resamples`: draws of the bootstrap. `tokens`: how many tokens the adapters' outputs are compared on, 0 for none.
    `pictures`: whether any are drawn.
    """

    split: str = "validation"
    limit: int | None = 2000
    examples: int = 5
    sentences: int = 6
    effects: bool = True
    resamples: int = 500
    tokens: int = 2048
    pictures: bool = True

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise PipelineError(
                f"there is no split '{self.split}'",
                where="inspect.split",
                hint=did_you_mean(str(self.split), SPLITS),
            )
        if self.limit is not None:
            _check_count("limit", self.limit, 1)
        for name, least in (("examples", 1), ("sentences", 0), ("resamples", 100), ("tokens", 0)):
            _check_count(name, getattr(self, name), least)
        for name in ("effects", "pictures"):
            true_or_false(getattr(self, name), f"inspect.{name}")


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PipelineError(
            f"inspect.{name}={value} is out of range", where=f"inspect.{name}", hint=f"{least} or more"
        )
