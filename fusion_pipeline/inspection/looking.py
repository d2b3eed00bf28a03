"""Everything that is looked at, put together: what `inspect.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_pipeline.fusion.spec import Fusion
from fusion_pipeline.inspection.answers import answers_of, asked, encode_given, example_json
from fusion_pipeline.inspection.effects import ALL, Outputs, effects_of, score_variants, variants
from fusion_pipeline.inspection.facets import facets_of
from fusion_pipeline.inspection.listening import Listened, listen
from fusion_pipeline.inspection.redundancy import compare
from fusion_pipeline.inspection.spec import InspectSpec
from fusion_pipeline.inspection.tokens import Sentence, sentences
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer
from fusion_pipeline.training.weights import mean_over_layers

if TYPE_CHECKING:
    from fusion_pipeline.stages.inspect import Given

# Below this, examples differ by rounding alone.
SAME = 1e-5


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is looked at: a trainer with the model, its tasks and their examples.

    `positions`: for each task, which rows of the split its examples are.
    """

    trainer: PipelineTrainer
    tasks: Sequence[TaskSpec]
    encoded: Sequence[Encoded]
    positions: Sequence[np.ndarray]
    spec: InspectSpec
    seed: int

    @property
    def model(self) -> AdaptedModel:
        """The model under the trainer."""
        model: AdaptedModel = self.trainer.model
        return model


def look(subject: Subject, given: Given | None) -> dict[str, Any]:
    """All findings, as JSON values."""
    model, spec = subject.model, subject.spec
    adapters, fusion = list(model.fusing), model.fusions[str(model.active_fusion)]
    groups = groups_of(fusion, adapters)
    wanted = variants(adapters, groups) if spec.effects else {ALL: tuple(adapters)}
    outputs = score_variants(subject.trainer, subject.tasks, subject.encoded, wanted)
    redundancy = None
    if spec.tokens and len(adapters) > 1:
        compared = compare(subject.trainer, subject.encoded, tokens=spec.tokens, seed=subject.seed)
        redundancy = asdict(compared) | {"mean": compared.mean(adapters), "size": compared.sizes(adapters)}
    return {
        "fusion": getattr(fusion.spec, "kind", ""),
        "sums_to_one": all(part.sums_to_one for part in _parts(fusion)),
        "adapters": adapters,
        "groups": groups,
        "split": spec.split,
        "seed": subject.seed,
        "resamples": spec.resamples,
        "targets": {
            task.name: _target(subject, outputs, number) for number, task in enumerate(subject.tasks)
        },
        "redundancy": redundancy,
        "sentences": [asdict(one) for one in _sentences(subject, outputs, given)],
    }


def groups_of(fusion: Any, adapters: Sequence[str]) -> dict[str, list[str]]:
    """The groups of two or more that are fused first, of the adapters at hand."""
    for part in _parts(fusion):
        there = {group: [name for name in own if name in adapters] for group, own in part.groups.items()}
        return {group: own for group, own in there.items() if len(own) > 1}
    return {}


def _parts(fusion: Any) -> list[Fusion]:
    return [part for _, part in fusion.items() if isinstance(part, Fusion)]


def _target(subject: Subject, outputs: Outputs, number: int) -> dict[str, Any]:
    task, encoded = subject.tasks[number], subject.encoded[number]
    facets = facets_of(task, encoded)
    listened = listen(subject.trainer, encoded, facets)
    effects = None
    if subject.spec.effects:
        effects = effects_of(
            outputs,
            number,
            scale=subject.model.head_spec(task.name).scale,
            facets=facets,
            resamples=subject.spec.resamples,
            seed=subject.seed,
        )
    return {
        "metric": task.metric,
        "examples": len(encoded),
        "weights": listened.sites,
        "mean": mean_over_layers({"": listened.sites})[""],
        "facets": {facet: _with_means(parts) for facet, parts in listened.facets.items()},
        "most": _most(subject, outputs, number, listened),
        "effects": effects,
    }


def _with_means(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Each part with its mean over sites."""

    def mean(sites: Mapping[str, Any]) -> dict[str, float]:
        return mean_over_layers({"": {key: {"weights": site} for key, site in sites.items()}})[""]

    return {part: {**told, "mean": mean(told["sites"])} for part, told in parts.items()}


def _most(subject: Subject, outputs: Outputs, number: int, listened: Listened) -> dict[str, list[Any]] | None:
    """{adapter: the examples that listen most to it}; None where all examples listen alike."""
    means = listened.examples
    if len(means) < 2 or float(np.ptp(means, axis=0).max()) < SAME:
        return None
    encoded, positions = subject.encoded[number], subject.positions[number]
    answers = answers_of(outputs[ALL][number])
    found: dict[str, list[Any]] = {}
    for column, adapter in enumerate(subject.model.fusing):
        rows = np.argsort(-means[:, column], kind="stable")[: subject.spec.examples]
        found[adapter] = [
            {"row": int(positions[row]), "weight": float(means[row, column])}
            | example_json(subject.tasks[number], encoded, int(row), answers)
            for row in rows
        ]
    return found


def _sentences(subject: Subject, outputs: Outputs, given: Given | None) -> list[Sentence]:
    trainer = subject.trainer
    if given is not None:
        head, items = given
        encoded = encode_given(subject.model, head, items)
        told = {i: (head.name, said) for i, said in enumerate(asked(subject.model, head.name, items))}
        return sentences(trainer, encoded, range(len(items)), told)
    found: list[Sentence] = []
    for number, encoded in enumerate(subject.encoded):
        rows = range(min(subject.spec.sentences, len(encoded)))
        answers = answers_of(outputs[ALL][number])
        found += sentences(
            trainer, encoded, rows, {row: _told(subject, number, row, answers) for row in rows}
        )
    return found


def _told(subject: Subject, number: int, row: int, answers: Mapping[int, str]) -> tuple[str, str]:
    task, position = subject.tasks[number], int(subject.positions[number][row])
    label = example_json(task, subject.encoded[number], row, answers)["label"]
    return f"{task.name}, {subject.spec.split} row {position}, label {label}", answers[row]
