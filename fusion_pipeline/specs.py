"""Every spec of a training run, built from the config and checked before anything heavy starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.hub import stay_offline_if_unreachable
from fusion_pipeline.registry import build_from
from fusion_pipeline.run import Run
from fusion_pipeline.tasks.spec import ColumnsSpec, DataSpec

if TYPE_CHECKING:
    from fusion_pipeline.adapters.spec import AdapterSpec
    from fusion_pipeline.backbone import BackboneSpec
    from fusion_pipeline.fusion.spec import FusionSpec
    from fusion_pipeline.heads import HeadSettings
    from fusion_pipeline.training.arguments import TrainerSpec
    from fusion_pipeline.training.batches import MixSpec

# What a run depends on; other keys (folders, logging, devices) change nothing it leaves.
SECTIONS = ("backbone", "data", "columns", "head", "trainer", "sampling")
_RUNTIME = {
    "use_cpu",
    "disable_tqdm",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "logging_steps",
    "reuse_lower_layers",
}
# Columns that were not always there: a config without them is the one it was before.
_LATER_COLUMNS = ("context", "question", "tokens", "choices", "answer", "answer_start", "separator")


@dataclass(frozen=True, kw_only=True)
class UnfreezeSpec:
    """Whether stage 2 trains the adapters too, and at which learning rate.

    `fresh`: they do not exist yet, start as `adapter=` draws them, and learn at the trainer's own rate.
    """

    adapters: bool = False
    learning_rate: float = 2e-5
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.fresh and not self.adapters:
            raise PipelineError(
                "fresh adapters that do not train say nothing",
                where="unfreeze.fresh",
                hint="unfreeze.adapters=true unfreeze.fresh=true",
            )
        if self.learning_rate <= 0:
            raise PipelineError(
                f"unfreeze.learning_rate={self.learning_rate} is out of range", where="unfreeze.learning_rate"
            )


@dataclass(frozen=True, kw_only=True)
class Specs:
    """The checked specs of a training stage."""

    backbone: BackboneSpec
    data: DataSpec
    columns: ColumnsSpec
    adapter: AdapterSpec
    fusion: FusionSpec
    head: HeadSettings
    trainer: TrainerSpec
    mix: MixSpec
    unfreeze: UnfreezeSpec


def check_tasks(run: Run, *keys: str, more: Sequence[str] = ()) -> None:
    """Finds where every task comes from that `keys` or `more` name, before torch is loaded: a typo answers at once."""
    from fusion_pipeline.tasks.resolve import resolve

    data = read_data(run)
    if data.source == "hub" and data.root is None:
        stay_offline_if_unreachable()
    if run.value("name") is not None:
        run.artefact_name("")
    named = [value for key in keys for value in run.names(key)]
    names = [resolve(value, data).name for value in (*named, *more)]
    for name in data.train_sizes:
        if name not in names:
            raise PipelineError(
                f"there is no task '{name}' here", where="data.train_sizes", hint=did_you_mean(name, names)
            )


def read_specs(run: Run) -> Specs:
    """All specs of a run; the first that is out of range is refused."""
    return Specs(
        backbone=read_backbone(run),
        data=read_data(run),
        columns=read_columns(run),
        adapter=build_from(run.section("adapter"), group="adapter"),
        fusion=build_from(run.section("fusion"), group="fusion"),
        head=build_from(run.section("head"), group="head"),
        trainer=read_trainer(run),
        mix=read_mix(run),
        unfreeze=plain_spec(UnfreezeSpec, run, "unfreeze"),
    )


def read_backbone(run: Run) -> BackboneSpec:
    """The backbone's spec."""
    spec: BackboneSpec = build_from(run.section("backbone"), group="backbone")
    spec.check_source()
    return spec


def read_data(run: Run) -> DataSpec:
    """Where data comes from."""
    spec: DataSpec = plain_spec(DataSpec, run, "data")
    return spec


def read_columns(run: Run) -> ColumnsSpec:
    """Which columns of own data hold what."""
    spec: ColumnsSpec = plain_spec(ColumnsSpec, run, "columns")
    return spec


def read_trainer(run: Run) -> TrainerSpec:
    """The trainer's settings."""
    from fusion_pipeline.training.arguments import TrainerSpec

    return TrainerSpec.from_section(run.section("trainer"))


def read_mix(run: Run) -> MixSpec:
    """How steps are shared among tasks."""
    from fusion_pipeline.training.batches import MixSpec

    spec: MixSpec = plain_spec(MixSpec, run, "sampling")
    return spec


def identity(run: Run, sections: tuple[str, ...], **chosen: Any) -> dict[str, Any]:
    """What makes two runs the same: their sections, seed and what they work on, without import targets.

    `data.root` is left out: the same data in another place has the same fingerprint, which is compared too.
    """
    config: dict[str, Any] = {"stage": run.stage, "seed": run.seed, **chosen}
    for name in (*SECTIONS, *sections):
        config[name] = {key: value for key, value in run.section(name).items() if key != "_target_"}
    config["trainer"] = {key: value for key, value in config["trainer"].items() if key not in _RUNTIME}
    if not config["trainer"].get("drop_lowest_layers"):
        # As it was before there was such an option.
        config["trainer"].pop("drop_lowest_layers", None)
    config["data"].pop("root", None)
    if not config["data"].get("train_sizes"):
        for key in ("train_sizes", "draw"):
            config["data"].pop(key, None)
    for key in (key for key in _LATER_COLUMNS if config["columns"].get(key) is None):
        config["columns"].pop(key, None)
    return config


def plain_spec(kind: type, run: Run, section: str) -> Any:
    """The spec of a section that has one class and no yaml of its own."""
    values = {key: value for key, value in run.section(section).items() if key != "kind"}
    target = f"{kind.__module__}.{kind.__qualname__}"
    return build_from({"_target_": target, **values}, group=section)
