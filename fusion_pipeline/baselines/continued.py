"""Adapters of sources, each trained on the target; the best on validation is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from transformers import set_seed

from fusion_pipeline.artefacts import load_adapter_into, weights_sha256, write_adapter
from fusion_pipeline.baselines.source_heads import source_head
from fusion_pipeline.baselines.spec import Given
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.store import Manifest, safe_name
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.fit import Fit, FitSpec, fit, score_test, with_cost_of
from fusion_pipeline.workflow import Training, build_heads

Splits = dict[str, list[Encoded]]


@dataclass
class Continued:
    """One model that takes up the sources' adapters one after the other.

    `tried` is what each of them came to on the target's validation split.
    """

    given: Given
    keep_heads: bool
    tried: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _refuse_target(self.given)
        self.model = AdaptedModel(self.given.backbone)
        # Every source is loaded once before any trains: what does not fit is refused now.
        for source in reversed(list(self.given.adapters)):
            self.start(source)

    def training(self) -> Training:
        """What is trained and left."""
        given = self.given
        lineage = [{"name": n, "sha256": weights_sha256(f)} for n, f in given.adapters.items()]
        return Training(
            job=given.job,
            specs=given.specs,
            kind="adapter",
            name=given.name,
            tasks=[given.target],
            model=self.model,
            parents=lineage,
            notes=self.notes,
            write=lambda folder: write_adapter(
                self.model, self.model.active_adapters[0], [given.target.spec], folder
            ),
            fitting=self.fit,
            what=f"An adapter for {given.target.spec.name}, trained on from a source's, on the frozen backbone",
            after=lambda: {"sources": self.tried},
        )

    def start(self, source: str) -> bool:
        """Puts a source's adapter in place, and a head; returns whether that is the source's own."""
        folder, task = self.given.adapters[source], self.given.target.spec
        former = self.model.active_adapters
        self.model.set_active(None)
        for name in former:
            self.model.adapters.drop(name)
            self.model.heads.drop(task.name)
        set_seed(self.given.run.seed)
        load_adapter_into(self.model, folder, source, head=False, verified=True)
        own = source_head(folder, task) if self.keep_heads else None
        if own is None:
            build_heads(self.model, [self.given.target], self.given.specs.head)
        else:
            self.model.add_head(task.name, own.spec)
            self.model.heads[task.name].load_state_dict(own.weights)
        self.model.train_only(adapters=[source], heads=[task.name])
        self.model.set_active(source, head=task.name)
        return own is not None

    def fit(self, spec: FitSpec, splits: Splits) -> Fit:
        """Trains from every source; the model ends as the best. Of equals, the one named first."""
        task = self.given.target.spec
        fits: list[Fit] = []
        best: tuple[float, str, Fit, dict[str, Tensor]] | None = None
        for source in self.given.adapters:
            own_head = self.start(source)
            done = fit(
                self.model, [task], splits, _attempt(spec, source, alone=len(self.given.adapters) == 1)
            )
            fits.append(done)
            self.tried[source] = _told(done, own_head)
            score = done.metrics["validation"][task.metric]
            if best is None or score > best[0]:
                best = score, source, done, {n: v.clone() for n, v in self.model.trained_state().items()}
        assert best is not None
        score, source, done, state = best
        self._keep(source, state)
        scored = score_test(self.model, [task], splits, spec, done)
        return with_cost_of(scored, fits)

    def _keep(self, source: str, state: dict[str, Tensor]) -> None:
        self.start(source)
        self.model.load_state_dict(state, strict=False)
        for name, told in self.tried.items():
            told["chosen"] = name == source
        several = len(self.tried) > 1
        how = f", the best of {', '.join(self.tried)} on validation" if several else ""
        self.notes.append(f"goes on from the adapter '{source}'{how}")


def _attempt(spec: FitSpec, source: str, *, alone: bool) -> FitSpec:
    """Checkpoints of its own; test stays unread, and the curves of many attempts do not mix in one run of wandb."""
    return replace(
        spec,
        work=spec.work / f"from-{safe_name(source)}",
        label=f"{spec.label} from {source}",
        evaluated=("validation",),
        use_wandb=spec.use_wandb and alone,
    )


def _told(done: Fit, own_head: bool) -> dict[str, Any]:
    return {
        "validation": done.metrics["validation"],
        "seconds": round(done.seconds, 2),
        "steps": done.steps,
        "epochs": done.epochs,
        "head": "source" if own_head else "fresh",
    }


def _refuse_target(given: Given) -> None:
    """An adapter that knows the target already is no source: going on from it shows no transfer."""
    for name, folder in given.adapters.items():
        for entry in Manifest.read(folder).data:
            if entry["task"] == given.target.spec.name or entry["fingerprint"] == given.target.fingerprint:
                raise PipelineError(
                    f"the adapter '{name}' was trained on {given.target.spec.name}, the target itself",
                    where="adapters",
                    hint=f"leave '{name}' out",
                )
