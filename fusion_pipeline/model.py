"""A frozen backbone with adapters, fusions and heads: the one model that every stage trains and serves."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.building import build_adapter
from fusion_pipeline.adapters.spec import AdapterSpec
from fusion_pipeline.backbone import Backbone, BackboneSpec
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.components import PerSite, Shelf
from fusion_pipeline.freezing import Freezing
from fusion_pipeline.fusion.spec import FusionSpec
from fusion_pipeline.heads import Head, HeadSpec, pool
from fusion_pipeline.heads.choices import sequence_ids
from fusion_pipeline.loss import step_loss
from fusion_pipeline.mixing import Observer, Probe
from fusion_pipeline.outputs import AdaptedOutput
from fusion_pipeline.recomputing import Recomputing
from fusion_pipeline.routing import (
    Routing,
    check_active,
    check_dropped,
    check_layers,
    check_shared_sites,
    is_prompt,
)
from fusion_pipeline.sites import load_table

if TYPE_CHECKING:
    from fusion_pipeline.prediction import Prediction


class AdaptedModel(Recomputing, Freezing):
    """A frozen backbone and the adapters, fusions and heads on it.

        model = AdaptedModel.from_backbone(BackboneSpec(path="bert-base-uncased"))
        model.add_adapter("nli", BottleneckSpec())
        model.add_head("nli", HeadSpec(type="classification", labels=("yes", "no")))
        model.set_active("nli", head="nli")

    Works in any training loop: `model(input_ids=…, attention_mask=…, labels=…).loss`.
    """

    # Trainer then passes `num_items_in_batch`, which makes the loss exact under accumulation and over ranks.
    accepts_loss_kwargs = True

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.info = backbone
        self.backbone = backbone.model
        self.config = backbone.model.config
        self.table = load_table(backbone.model.config.model_type)
        self.adapters = Shelf("adapter")
        self.fusions = Shelf("fusion")
        self.heads = Shelf("head")
        self.active_head: str | None = None
        self.active_fusion: str | None = None
        self.active_adapters: tuple[str, ...] = ()
        # Dropout of the frozen backbone while the rest trains.
        self.backbone_dropout = backbone.spec.dropout
        self._routing = Routing(self.table, self.backbone)

    @classmethod
    def from_backbone(cls, source: str | Path | BackboneSpec) -> AdaptedModel:
        """On a backbone given by hub id, local folder or spec."""
        spec = source if isinstance(source, BackboneSpec) else BackboneSpec(kind="custom", path=str(source))
        return cls(load_backbone(spec))

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        adapters: Sequence[str] | None = None,
        backbone: str | Path | None = None,
        trust: Sequence[str] = (),
    ) -> AdaptedModel:
        """The model a run left, adapter or fusion, ready to predict.

        `adapters` takes a subset of a fusion's; `backbone` is the backbone's folder where it has moved; `trust` names
        the modules whose classes it may take for kinds that are not installed here.
        """
        from fusion_pipeline.artefacts import load_model
        from fusion_pipeline.registry import trusting

        with trusting(trust):
            return load_model(Path(folder), adapters=adapters, backbone=backbone)

    @classmethod
    def from_adapterhub(
        cls,
        base: str | Path | BackboneSpec,
        adapters: Sequence[str | Path] = (),
        *,
        fusion: str | Path | None = None,
        head: str | Path | None = None,
    ) -> AdaptedModel:
        """The model that AdapterHub's `adapters` would run from the same folders, active and in evaluation mode.

        `base` is the backbone's folder or hub id, `adapters` the adapters' folders (several with a `fusion`),
        `head` a head's folder; with one adapter, a head saved beside it is taken.
        """
        from fusion_pipeline.interop.adapterhub.model import from_adapterhub

        return from_adapterhub(base, adapters, fusion=fusion, head=head)

    # --- building -----------------------------------------------------------------------------

    def add_adapter(self, name: str, spec: AdapterSpec) -> None:
        """Adds an untrained adapter at every site that its kind takes."""
        rows = spec.rows(self.table)
        check_layers(spec.skip_layers, self.layers)
        part = build_adapter(spec, self._routing.widths(rows, spec.skip_layers))
        if is_prompt(part):
            self._routing.input.prepare(part, self.info)
        self.adapters.put(name, part.to(self._device()))

    def load_adapter(self, folder: str | Path, name: str | None = None) -> str:
        """Adds the adapter saved in a folder, with its heads; returns the name it got.

        The name `x:snli` takes what a generator for several tasks makes for snli, as an adapter of its own.
        """
        from fusion_pipeline.artefacts import load_adapter_into

        return load_adapter_into(self, Path(folder), name)

    def add_fusion(self, name: str, spec: FusionSpec, adapters: Sequence[str]) -> None:
        """Adds an untrained fusion over adapters that are already there."""
        parts = [self._adapter(adapter) for adapter in adapters]
        check_shared_sites(dict(zip(adapters, parts, strict=True)))
        rows = [row for part in parts for row in part.rows]
        widths = self._routing.widths(rows).items()
        keys = {key: dims for key, dims in widths if any(part.at(key) is not None for part in parts)}
        modules: dict[str, nn.Module] = {
            key: spec.build(*dims, tuple(adapters)) for key, dims in keys.items()
        }
        self.fusions.put(name, PerSite(spec, modules).to(self._device()))

    def add_head(self, name: str, spec: HeadSpec) -> None:
        """Adds a head; a task's head bears the task's name."""
        self.heads.put(name, Head(spec, self.config.hidden_size).to(self._device()))

    def head_spec(self, name: str) -> HeadSpec:
        """The settings of a head."""
        head = self.heads[name]
        assert isinstance(head, Head)
        return head.spec

    # --- what is active ---------------------------------------------------------------------------

    def set_active(
        self, adapters: str | Sequence[str] | None, *, fusion: str | None = None, head: str | None = None
    ) -> None:
        """Chooses what the next forwards run: one adapter, or a fusion over several, and a head.

        `adapters` None runs the bare backbone. Stays until it is called again.
        """
        names = () if adapters is None else (adapters,) if isinstance(adapters, str) else tuple(adapters)
        parts = {name: self._adapter(name) for name in names}
        check_active(parts, names, fusion)
        if head is not None:
            _ = self.heads[head]
        fusions = None if fusion is None else self.fusions[fusion]
        self._routing.install(parts, fusions if isinstance(fusions, PerSite) else None)
        self.active_adapters, self.active_fusion = names, fusion
        self.active_head = head if head is not None else self.active_head

    def drop_layers(self, count: int) -> None:
        """Runs the lowest `count` layers without their adapters and fusion, until `set_active` is called again.

        Those layers are the bare backbone's and cost nothing more (AdapterDrop, Rücklé et al. 2021). A prompt stays.
        """
        check_dropped(count, self.layers)
        self._routing.drop_layers(count)

    @property
    def layers(self) -> int:
        """How many layers the backbone has."""
        return len(self.table.layer_list(self.backbone))

    # --- running ----------------------------------------------------------------------------------

    def forward(
        self,
        *,
        labels: Tensor | None = None,
        task: str | None = None,
        task_ids: Tensor | None = None,
        example_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        choices: Tensor | None = None,
        features: Tensor | None = None,
        output_hidden_states: bool = False,
        output_fusion_weights: bool = False,
        **inputs: Tensor,
    ) -> AdaptedOutput:
        """Backbone, sites, pooling, head.

        `task` names the head (default: the active one), and the task where an adapter differs by it. Rows with
        `example_ids` below 0 are fillers that count for nothing. `choices` (B, C) says which sequences are whose
        where a row is several. `features` are what the head reads, where they are known: nothing below it runs.
        Loss = (Σ example losses + n · penalty) / num_items_in_batch, n the rows
        of this batch: summed over micro-batches and ranks this is mean loss + penalty, exactly.
        """
        task = self.active_head if task is None else task
        head, logits, loss, states, weights = self._head(task), None, None, None, None
        if features is None:
            ids = example_ids
            if example_ids is not None and choices is not None:
                ids = sequence_ids(example_ids, choices, len(next(iter(inputs.values()))))
            with self._routing.collecting(output_fusion_weights) as weights:
                states = self._states(inputs, ids, task, output_hidden_states)
        if head is not None:
            mask = inputs.get("attention_mask")
            read = self.features(head, states, mask) if features is None else features
            logits = head.arrange(head(read), mask, choices)
        if head is not None and logits is not None and labels is not None:
            penalty = self.penalty() if self.training else None
            loss = step_loss(
                head, logits, labels, example_ids=example_ids, penalty=penalty, items=num_items_in_batch
            )
        return AdaptedOutput(
            loss=loss,
            logits=logits,
            hidden_states=states.hidden_states if states and output_hidden_states else None,
            last_hidden_state=states.last_hidden_state if states and output_hidden_states else None,
            fusion_weights=weights,
        )

    def features(self, head: Head, states: Any, mask_BT: Tensor | None) -> Tensor:
        """What a head reads of the backbone's output: pooled (B, D), or (B, T, D) where it does not pool."""
        hidden_BTD: Tensor = states.last_hidden_state
        if not head.pools:
            return hidden_BTD
        return pool(hidden_BTD, mask_BT, self.info.pooling, getattr(states, "pooler_output", None))

    def penalty(self) -> Tensor | None:
        """The penalties of the active fusion and adapters, summed over sites."""
        return self._routing.penalty()

    def site_widths(self, row: str) -> tuple[int, int]:
        """(D_in, D_out) of a site, the same in every layer."""
        return next(iter(self._routing.widths([row]).values()))

    def free_layers(self) -> int:
        """How many of the lowest layers are below every active adapter."""
        return self._routing.free_layers()

    @property
    def fusing(self) -> tuple[str, ...]:
        """The active adapters that have a delta: all but a prompt."""
        return tuple(name for name in self.active_adapters if not is_prompt(self._adapter(name)))

    @property
    def virtual_tokens(self) -> int:
        """How many tokens of an active prompt stand before the real ones."""
        return self._routing.input.virtual

    def observe(self, observer: Observer | None, probe: Probe | None = None) -> None:
        """Shows every forward's fusion weights to `observer`, and what they mix to `probe`; None stops it."""
        self._routing.observe(observer, probe)

    def predict(self, texts: Sequence[str | tuple[str, str]], **options: Any) -> list[Prediction]:
        """Labels, probabilities and, with `fusion_weights=True`, what each token listened to."""
        from fusion_pipeline.prediction import predict

        return predict(self, texts, **options)

    # --- inside -----------------------------------------------------------------------------------

    def _states(self, inputs: dict[str, Tensor], ids: Tensor | None, task: str | None, hidden: bool) -> Any:
        """What backbone and sites make of a batch; pooling and heads see no virtual tokens of a prompt."""
        entered = self._routing.input.enter(inputs)
        self._routing.begin(entered.get("attention_mask"), ids, task)
        return self._routing.input.leave(self.backbone(**entered, output_hidden_states=hidden))

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedModel:
        # Hooks hold on to the modules they were made for: a copy must attach its own.
        active = {"fusion": self.active_fusion, "head": self.active_head}
        names, dropped = self.active_adapters or None, self._routing.dropped
        self.set_active(None)
        try:
            twin = self.__class__.__new__(self.__class__)
            memo[id(self)] = twin
            twin.__dict__ = deepcopy(self.__dict__, memo)
        finally:
            self.set_active(names, **active)
            self.drop_layers(dropped)
        twin.set_active(names, **active)
        twin.drop_layers(dropped)
        return twin

    def _head(self, name: str | None) -> Head | None:
        if name is None:
            return None
        head = self.heads[name]
        assert isinstance(head, Head)
        return head

    def _adapter(self, name: str) -> PerSite:
        part = self.adapters[name]
        assert isinstance(part, PerSite)
        return part

    def _device(self) -> torch.device:
        return next(self.backbone.parameters()).device
