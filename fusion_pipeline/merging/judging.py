"""How good adapters and merges are on a task: one backbone, one set of examples, one rule for heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.heads.pooling import pool
from fusion_pipeline.merging.judged_heads import alike, fitted_head, mean_head, own_head
from fusion_pipeline.merging.loading import load_merge
from fusion_pipeline.merging.methods.linear import Linear
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type
from fusion_pipeline.training.batches import Collator
from fusion_pipeline.training.encoding import encode_task
from fusion_pipeline.training.scoring import TaskOutputs

if TYPE_CHECKING:
    from fusion_pipeline.heads import Head
    from fusion_pipeline.merging.source import Source
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.tasks.data import TaskData

FIT, MEAN = "fit", "mean"
_BATCH = 64
_NAME = "judged"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One candidate: what was merged, its head, and the logits (n, C) of the splits that were asked for."""

    plan: Plan
    head: Head
    logits: dict[str, np.ndarray]


@dataclass(kw_only=True)
class Judge:
    """Scores adapters of one backbone on one task.

    Args:
        model: The bare backbone, on which candidates are put one after the other.
        data: The task.
        sources: The inputs, whose heads may serve.
        rule: `fit`, `mean`, an input's name, or None: `mean` where every input has a head for the task, else `fit`.
        cache: Where tokens are kept.

    `fit`: each candidate gets a linear head fitted to the train split's features under it, so that what differs is
    the adapters. `mean`: the inputs' heads, averaged with the merge's own weights; no example of the task is trained
    on. A single input is judged with its own head where the rule is not `fit` and it has one. Raises `PipelineError`
    for a task whose heads do not read one vector a text, and for heads that cannot be had.
    """

    model: AdaptedModel
    data: TaskData
    sources: Sequence[Source]
    rule: str | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        spec = self.data.spec
        if isinstance(task_type(spec.type), RowType):
            raise PipelineError(
                f"merges are judged on classification and regression, and {spec.name} is {spec.type}",
                where="task",
            )
        hidden = self.model.config.hidden_size
        self._own = [own_head(source, self.data, hidden) for source in self.sources]
        self.rule = self._checked_rule()
        self._encoded = encode_task(self.data, self.model.info, self.cache)

    def single(self, index: int, splits: Sequence[str]) -> Judged:
        """An input alone."""
        alone = Plan(sources=[self.sources[index]], method=Linear())
        own = self._own[index]
        return self._judged(alone, splits, None if self.rule == FIT else own or self._chosen())

    def merge(self, plan: Plan, splits: Sequence[str]) -> Judged:
        """A merge; its weights are made in memory, as they would be saved."""
        return self._judged(plan, splits, self.head_of(plan))

    def also_on(self, judged: Judged, split: str) -> Judged:
        """The same candidate under the same head, on another split."""
        found = self._judged(judged.plan, [split], judged.head)
        return replace(found, logits=judged.logits | found.logits)

    def head_of(self, plan: Plan) -> Head | None:
        """The head of a merge; None where it is to be fitted."""
        if self.rule == FIT:
            return None
        if self.rule != MEAN:
            return self._chosen()
        places = [self._place(source) for source in plan.sources]
        rows = [plan.method.prepared(weights) for weights in plan.module_weights.values()]
        return mean_head(
            [h for i in places if (h := self._own[i]) is not None], np.mean(rows, axis=0).tolist()
        )

    def metrics(self, judged: Judged, split: str) -> dict[str, float]:
        """The task's metrics and the mean loss."""
        return self.score(judged.logits[split], split, judged.head.spec.scale)

    def score(self, logits: np.ndarray, split: str, scale: float = 1.0) -> dict[str, float]:
        """Metrics of logits (n, C) in the order of the split's rows."""
        labels = self._encoded[split].labels
        outputs = TaskOutputs(spec=self.data.spec, logits=logits, labels=labels, ids=np.arange(len(labels)))
        return outputs.metrics(scale)

    def together(self, judged: Sequence[Judged], split: str) -> dict[str, float]:
        """The outputs fused: the mean of the probabilities (of the values, in regression), without any training."""
        logits = [one.logits[split] for one in judged]
        if self.data.spec.labels is None:
            return self.score(np.mean(logits, axis=0), split, judged[0].head.spec.scale)
        chances = [np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True)) for x in logits]
        return self.score(np.log(np.mean(chances, axis=0)), split)

    def _judged(self, plan: Plan, splits: Sequence[str], head: Head | None) -> Judged:
        load_merge(self.model, plan, _NAME)
        self.model.eval()
        self.model.set_active(_NAME)
        used = head if head is not None else fitted_head(self.features("train"), self.data)
        logits = {split: self._logits(used, split) for split in splits}
        self.model.set_active(None)
        return Judged(plan=plan, head=used, logits=logits)

    def _logits(self, head: Head, split: str) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = head(torch.from_numpy(self.features(split))).double().numpy()
        return found

    @torch.no_grad()
    def features(self, split: str) -> np.ndarray:
        """The pooled vectors (n, D) of a split's rows, in their order, under whatever is active."""
        encoded, model = self._encoded[split], self.model
        collate = Collator(pad_id=getattr(model.info.tokenizer, "pad_token_id", None) or 0)
        order, found = np.argsort(-encoded.lengths, kind="stable"), dict[int, np.ndarray]()
        device = next(model.parameters()).device
        for start in range(0, len(order), _BATCH):
            rows = [int(i) for i in order[start : start + _BATCH]]
            batch = collate(
                [{**encoded.example(i), "task": "", "task_ids": 0, "example_ids": i} for i in rows]
            )
            names = ("input_ids", "attention_mask", "token_type_ids")
            inputs = {key: batch[key].to(device) for key in names if key in batch}
            states = model(**inputs, output_hidden_states=True).last_hidden_state
            pooled = pool(states, inputs["attention_mask"], model.info.pooling)
            found |= dict(zip(rows, pooled.float().cpu().numpy(), strict=True))
        return np.stack([found[i] for i in range(len(encoded))])

    def _place(self, source: Source) -> int:
        return next(i for i, one in enumerate(self.sources) if one.file == source.file)

    def _chosen(self) -> Head:
        """The head of the input that the rule names."""
        pairs = zip(self.sources, self._own, strict=True)
        return next(head for source, head in pairs if source.name == self.rule and head is not None)

    def _checked_rule(self) -> str:
        if self.rule is None:
            return MEAN if alike(self._own) else FIT
        names = [
            source.name for source, head in zip(self.sources, self._own, strict=True) if head is not None
        ]
        if self.rule == MEAN and not alike(self._own):
            raise PipelineError(
                f"not every input has a head of one make for {self.data.spec.name}: {', '.join(names) or 'none has'}",
                where="head_from",
                hint=f"head_from={FIT} fits one to the task's train split",
            )
        if self.rule not in (FIT, MEAN, *names):
            hint = did_you_mean(self.rule, [FIT, MEAN, *names])
            raise PipelineError(
                f"there is no head '{self.rule}' for {self.data.spec.name}", where="head_from", hint=hint
            )
        return self.rule
