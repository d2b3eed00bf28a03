"""A prompt that the sources share, then tuned on the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from fusion_pipeline.baselines.spec import Given, Takes
    from fusion_pipeline.workflow import Training


@dataclass(frozen=True, kw_only=True)
class MultitaskPromptSpec:
    """P virtual tokens before every text (P, E): trained on all sources at once, then on the target; no more.

    The shared prompt of Wang et al. (2023, multitask prompt tuning) without its two refinements: no rank-one factor
    for each task, no distillation from prompts of single tasks. Joint training has one head a source and keeps
    the prompt that is best on the mean of the sources' validation scores; the target goes on from it with a fresh
    head. Both take the trainer's settings. `length` is P; `init` and `init_std` as of adapter=prompt.
    """

    kind: str = "multitask_prompt"
    length: int = 20
    init: str = "vocabulary"
    init_std: float = 0.5
    takes: ClassVar[Takes] = "tasks"
    sections: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.length < 1:
            raise PipelineError(
                f"a prompt of {self.length} tokens says nothing", where="length", hint="1 or more"
            )

    def prepare(self, given: Given) -> Training:
        """A fresh prompt, and the target's head."""
        from fusion_pipeline.adapters.prompt import PromptSpec
        from fusion_pipeline.baselines.prompted import SharedPrompt

        prompt = PromptSpec(length=self.length, init=self.init, init_std=self.init_std)
        return SharedPrompt(given, prompt).training()
