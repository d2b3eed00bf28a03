"""A fusion that goes on from a former one: what is carried over, and what its old targets lose or gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model, task_specs
from fusion_pipeline.artefacts import FUSION, check_backbone, find_parent, load_model, weights_sha256
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.evaluation_data import evaluation_source, load_evaluation_data
from fusion_pipeline.fusion.carrying import carry, check_carried
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.run import Run
from fusion_pipeline.specs import Specs, read_columns, read_data
from fusion_pipeline.store import Manifest
from fusion_pipeline.tasks.data import TaskData
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.training.fit import FitSpec, build_trainer, evaluate_splits
from fusion_pipeline.workflow import encode


@dataclass(frozen=True, kw_only=True)
class Former:
    """The fusion that a run goes on from, with its model and, unless it was imported, the data of its targets."""

    folder: Path
    manifest: Manifest
    model: AdaptedModel
    heads: list[TaskSpec]
    data: list[TaskData]
    tuned: bool

    def lineage(self) -> dict[str, Any]:
        """What the new fusion remembers of this one."""
        return {"name": self.manifest.name, "sha256": self.manifest.files[FUSION]}

    def carry_into(self, model: AdaptedModel, name: str, parents: Sequence[Mapping[str, Any]]) -> None:
        """Every weight that still means the same: the fusion's, all heads, and adapters that it had tuned."""
        check_backbone(model, self.manifest, self.folder)
        former = self.model.fusions[str(self.model.active_fusion)]
        fresh = model.fusions[name]
        self._check(former, fresh, parents)
        carry(former, fresh)
        for head in self.heads:
            if head.name in model.heads:
                model.heads.drop(head.name)
            model.add_head(head.name, self.model.head_spec(head.name))
            model.heads[head.name].load_state_dict(self.model.heads[head.name].state_dict())
        for adapter in self.model.active_adapters if self.tuned else ():
            if adapter in model.adapters:
                model.adapters[adapter].load_state_dict(self.model.adapters[adapter].state_dict())

    def kept(self, tasks: Sequence[TaskData]) -> list[TaskSpec]:
        """The old targets that are no targets now: their heads stay as they are."""
        now = {data.spec.name for data in tasks}
        return [head for head in self.heads if head.name not in now]

    def check_targets(self, tasks: Sequence[TaskData]) -> None:
        """Refuses a target whose old head knows other labels."""
        old = {head.name: head for head in self.heads}
        for data in tasks:
            head = old.get(data.spec.name)
            if head is not None and (head.type, head.labels) != (data.spec.type, data.spec.labels):
                raise PipelineError(
                    f"'{self.manifest.name}' has a head '{head.name}' for other labels",
                    where="target",
                    hint="columns.labels=[...] gives the data the head's labels in the head's order",
                )

    def scores(self, run: Run, specs: Specs, model: AdaptedModel, work: Path) -> dict[str, Any]:
        """{old target: its validation metric before and after}; prints them."""
        if not self.data:
            return {}
        before, after = (self._score(run, specs, one, work) for one in (self.model, model))
        told = {name: {"before": before[name], "after": after[name]} for name in before}
        table = Table("old target", "before", "after", title="validation", title_justify="left")
        for name, values in told.items():
            table.add_row(name, f"{values['before']:.4f}", f"{values['after']:.4f}")
        run.console.print(table)
        return {"old_targets": told}

    def _score(self, run: Run, specs: Specs, model: AdaptedModel, work: Path) -> dict[str, float]:
        splits = encode(self.data, model.info, run.output_root)
        spec = FitSpec(trainer=specs.trainer, mix=specs.mix, seed=run.seed, work=work, label="old targets")
        tasks = [data.spec for data in self.data]
        trainer, _ = build_trainer(model, tasks, splits, spec)
        found = evaluate_splits(trainer, tasks, splits, ("validation",))[0]["validation"]
        return {t.name: found[f"{t.name}/{t.metric}" if len(tasks) > 1 else t.metric] for t in tasks}

    def _check(self, former: Any, fresh: Any, parents: Sequence[Mapping[str, Any]]) -> None:
        assert isinstance(former, PerSite)
        if former.rows != fresh.rows:
            listed = [", ".join(sorted(part.rows)) for part in (former, fresh)]
            raise PipelineError(
                f"'{self.manifest.name}' fuses adapters at {listed[0]}, and these are at {listed[1]}",
                where="adapters",
                hint="go on with adapters of its placement",
            )
        names = self.model.active_adapters
        known = {name: weights_sha256(find_parent(self.folder, self.manifest, name)) for name in names}
        for parent in parents:
            if known.get(parent["name"], parent["sha256"]) != parent["sha256"]:
                raise PipelineError(
                    f"the adapter '{parent['name']}' is not the one '{self.manifest.name}' was trained over",
                    where="adapters",
                    hint="its weights differ: give the new one another name=, or bring the former one back",
                )


def find_former(run: Run, specs: Specs) -> Former | None:
    """The fusion of `init=`, verified and loaded; one of another kind or with other settings is refused."""
    if run.value("init") is None:
        return None
    folder = store.find(str(run.value("init")), run.output_root / "fusion", where="init")
    manifest = store.verify(folder)
    if manifest.kind != "fusion":
        raise PipelineError(f"'{manifest.name}' is no fusion to go on from", where="init")
    model = load_model(folder, backbone=specs.backbone.path)
    fusion = model.fusions[str(model.active_fusion)]
    assert isinstance(fusion, PerSite)
    _check_settings(fusion.spec, specs.fusion, manifest.name)
    saved = read_model(folder)
    imported = manifest.config.get("stage") == "import"
    return Former(
        folder=folder,
        manifest=manifest,
        model=model,
        heads=task_specs(folder),
        data=[] if imported else load_evaluation_data(_recorded(run, manifest), folder, manifest),
        tuned=bool(saved["tuned"]),
    )


def with_old_targets(run: Run, former: Former, tasks: Sequence[TaskData]) -> Run:
    """The run under whose config every head can be scored again, where all data are of one source."""
    kept = {head.name for head in former.kept(tasks)}
    if not kept or not former.data:
        return run
    values, data, columns = evaluation_source(_recorded(run, former.manifest), former.folder, former.manifest)
    if (data, columns) != (read_data(run), read_columns(run)):
        return run
    old = [value for value, head in zip(values, former.heads, strict=True) if head.name in kept]
    return replace(run, config=run.config | {"target": [*run.names("target"), *old]})


def _recorded(run: Run, manifest: Manifest) -> Run:
    """Old targets are read where they were read then, whatever this run says of its own."""
    data = run.section("data")
    if data["source"] != manifest.config["data"]["source"]:
        data["source"] = "embedded"
    return replace(run, config=run.config | {"task": None, "data": data})


def _check_settings(former: Any, wanted: Any, name: str) -> None:
    if former.kind != wanted.kind:
        raise PipelineError(
            f"'{name}' is a fusion={former.kind}, and this run says fusion={wanted.kind}",
            where="init",
            hint=f"fusion={former.kind}",
        )
    check_carried(former)
    old, new = asdict(former), asdict(wanted)
    differing = [key for key in old if old[key] != new[key]]
    if differing:
        key = differing[0]
        raise PipelineError(
            f"'{name}' was trained with other settings: fusion.{', fusion.'.join(differing)}",
            where=f"fusion.{key}",
            hint=f"fusion.{key}={old[key]}",
        )
