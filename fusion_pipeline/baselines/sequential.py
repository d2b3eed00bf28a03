"""A source's adapter trained on: how much of fusion's gain is the nearest source alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_pipeline.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training

HEADS = ("source", "fresh")


@dataclass(frozen=True, kw_only=True)
class SequentialSpec:
    """A source's adapter, bit for bit, is trained on the target, on the frozen backbone (Phang et al. 2018: STILTs).

    Of several sources each is trained in full, and the best on the target's validation split is kept; test is read
    for that one alone. `head` "source": the source's own head goes on too where both tasks have the same labels,
    since its answers are the target's then; "fresh": never. Other label sets always get a fresh head.
    """

    kind: str = "sequential"
    head: str = "source"
    takes: ClassVar[Takes] = "adapters"
    sections: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise PipelineError(
                f"a sequential head is not '{self.head}'", where="head", hint=did_you_mean(self.head, HEADS)
            )

    def prepare(self, given: Given) -> Training:
        """The first source's adapter; training tries the others too."""
        from fusion_pipeline.baselines.continued import Continued

        return Continued(given, keep_heads=self.head == "source").training()
