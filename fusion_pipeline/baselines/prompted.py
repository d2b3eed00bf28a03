"""A prompt that is trained on all sources at once, and goes on on the target."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from transformers import set_seed

from fusion_pipeline.adapters.spec import AdapterSpec
from fusion_pipeline.artefacts import write_adapter
from fusion_pipeline.baselines.spec import Given
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import Fit, FitSpec, fit, with_cost_of
from fusion_pipeline.workflow import Training, build_heads, encode

SHARED = "shared"


@dataclass
class SharedPrompt:
    """One model and its prompt, in two trainings. `shared` is what the first came to."""

    given: Given
    prompt: AdapterSpec
    shared: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.given
        set_seed(given.run.seed)
        self.model = AdaptedModel(given.backbone)
        self.model.add_adapter(given.name, self.prompt)
        build_heads(self.model, [given.target], given.specs.head)
        self._train([given.target.spec.name])

    def training(self) -> Training:
        """What is trained and left."""
        given = self.given
        names = ", ".join(data.spec.name for data in given.sources)
        return Training(
            job=given.job,
            specs=given.specs,
            kind="adapter",
            name=given.name,
            tasks=[given.target],
            model=self.model,
            notes=[f"the prompt was trained jointly on {names}, then on {given.target.spec.name}"],
            write=lambda folder: write_adapter(self.model, given.name, [given.target.spec], folder),
            fitting=self.fit,
            what=f"A prompt for {given.target.spec.name}, before the texts of the frozen backbone",
            after=lambda: {SHARED: self.shared},
        )

    def fit(self, spec: FitSpec, splits: dict[str, list[Encoded]]) -> Fit:
        """The sources together, then the target alone; the seconds are of both."""
        joint = self._fit_shared(spec)
        self.shared |= {
            "validation": joint.metrics["validation"],
            "seconds": round(joint.seconds, 2),
            "steps": joint.steps,
            "epochs": joint.epochs,
        }
        target = self.given.target.spec
        self._train([target.name])
        done = fit(self.model, [target], splits, spec)
        return with_cost_of(done, [joint, done])

    def _fit_shared(self, spec: FitSpec) -> Fit:
        sources = self.given.sources
        tasks = [data.spec for data in sources]
        splits = encode(sources, self.model.info, self.given.run.output_root)
        build_heads(self.model, sources, self.given.specs.head)
        self._train([task.name for task in tasks])
        own = replace(
            spec,
            work=spec.work / SHARED,
            label=f"{spec.label}, shared",
            evaluated=("validation",),
            use_wandb=False,
        )
        done = fit(self.model, tasks, splits, own)
        for task in tasks:
            self.model.heads.drop(task.name)
        return done

    def _train(self, heads: list[str]) -> None:
        self.model.train_only(adapters=[self.given.name], heads=heads)
        self.model.set_active(self.given.name, head=heads[0])
