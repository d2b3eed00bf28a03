"""A comparison of prompts, computed: every contender's answers, perplexity and overlaps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fusion_pipeline.prompting.contenders import Contender, running
from fusion_pipeline.prompting.overlap import overlaps
from fusion_pipeline.prompting.questions import PromptSet
from fusion_pipeline.prompting.spec import GenerationSpec
from fusion_pipeline.store.integrity import sha256

if TYPE_CHECKING:
    from rich.console import Console

    from fusion_pipeline.prompting.base import Base
    from fusion_pipeline.prompting.generating import Said
    from fusion_pipeline.prompting.perplexity import Perplexity


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one contender did: an answer a prompt, seconds for all of them, perplexity where there is a reference."""

    contender: Contender
    said: Sequence[Said]
    seconds: float
    perplexity: Perplexity | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a report shows."""

    base: str
    seed: int
    spec: GenerationSpec
    prompts: PromptSet
    answers: Sequence[Answers]
    command: str

    @property
    def names(self) -> list[str]:
        """The contenders, the base first."""
        return [answers.contender.name for answers in self.answers]

    @cached_property
    def overlaps(self) -> list[list[float]]:
        """Mean ROUGE-L of every pair."""
        return overlaps([[said.tokens for said in answers.said] for answers in self.answers])

    def to_json(self) -> dict[str, Any]:
        """The whole comparison as JSON values."""
        from fusion_pipeline.store.manifest import versions

        return {
            "base": self.base,
            "seed": self.seed,
            "generation": asdict(self.spec),
            "prompts": {"source": self.prompts.source, "count": len(self.prompts.prompts)},
            "contenders": [_summary(answers) for answers in self.answers],
            "overlap": {
                "measure": "mean ROUGE-L F1 over tokens",
                "names": self.names,
                "values": self.overlaps,
            },
            "answers": self._rows(),
            "command": self.command,
            "versions": versions(),
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "name": prompt.name,
                "prompt": prompt.text,
                "said": {a.contender.name: a.said[index].text for a in self.answers},
            }
            for index, prompt in enumerate(self.prompts.prompts)
        ]


def compare(
    base: Base,
    contenders: Sequence[Contender],
    prompts: PromptSet,
    spec: GenerationSpec,
    *,
    seed: int,
    command: str,
    console: Console,
) -> Comparison:
    """Runs every contender on every prompt, one contender after the other."""
    from fusion_pipeline.prompting.generating import encode, generate
    from fusion_pipeline.prompting.perplexity import check_reference, perplexity

    encoded = encode(base, prompts.prompts, spec)
    reference = None if prompts.reference is None else check_reference(base, prompts.reference)
    found = []
    for contender in contenders:
        with running(base, contender):
            started = time.monotonic()
            said = generate(base, encoded, spec, seed)
            seconds = time.monotonic() - started
            score = None if reference is None else perplexity(base, reference, spec)
        found.append(Answers(contender=contender, said=said, seconds=seconds, perplexity=score))
        console.print(f"  {contender.name}: {seconds:.1f} s", markup=False)
    return Comparison(base=base.name, seed=seed, spec=spec, prompts=prompts, answers=found, command=command)


def _summary(answers: Answers) -> dict[str, Any]:
    one, score = answers.contender, answers.perplexity
    return {
        "name": one.name,
        "folder": None if one.folder is None else str(one.folder),
        "format": one.format,
        "sha256": None if one.weights is None else sha256(one.weights),
        "perplexity": None if score is None else asdict(score),
        "tokens": sum(len(said.tokens) for said in answers.said),
        "seconds": round(answers.seconds, 3),
    }
