"""A planned run as an ordinary run of its stage: its config, and the artefact it leaves or has left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.compare.contenders import STAGE1, Contender, option_sections
from fusion_pipeline.compare.found import choose, wanted_settings
from fusion_pipeline.compare.plan import SOURCE, Planned
from fusion_pipeline.compare.spec import TOP, CompareSpec, merged
from fusion_pipeline.registry import config_file, load_yaml
from fusion_pipeline.run import Run
from fusion_pipeline.store.names import safe_name

_DIGEST = 8


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A planned run that may start: its config as plain values, and its artefact's folder.

    `there`: the artefact is there already, made with these settings.
    """

    planned: Planned
    config: dict[str, Any]
    folder: Path
    there: bool = False


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Prepares the runs of one comparison.

    Args:
        run: The comparison's own run.
        spec: Its settings.
        contenders: By name.
        values: Task name → what the command line calls it (a path, perhaps).
        name: Of the comparison.
    """

    run: Run
    spec: CompareSpec
    contenders: Mapping[str, Contender]
    values: Mapping[str, str]
    name: str

    def prepare(self, planned: Planned, parents: Sequence[Path], made: Collection[Path] = ()) -> Prepared:
        """The run with its config, and where its artefact lies: found again, or a free name.

        `made`: artefacts of this very comparison, which `overwrite=true` does not make again.
        """
        config = self.config(planned, parents)
        wanted = wanted_settings(config, planned, parents)
        root = self.run.output_root / self.place(planned)
        folder, there = choose(root, self._names(planned, wanted), wanted, overwrite=self.run.overwrite)
        there = there or folder in made
        return Prepared(planned=planned, config=config | {"name": folder.name}, folder=folder, there=there)

    def place(self, planned: Planned) -> str:
        """The folder below `output_root` for artefacts of this kind."""
        return STAGE1 if planned.role == SOURCE else self.contenders[planned.contender].place

    def config(self, planned: Planned, parents: Sequence[Path]) -> dict[str, Any]:
        """The whole config of a run, but for its name."""
        contender = None if planned.role == SOURCE else self.contenders[planned.contender]
        own = load_yaml(config_file("stage", STAGE1 if contender is None else contender.group))
        left = {key: value for key, value in self.run.config.items() if key not in (*TOP, "compare")}
        config = own | deepcopy(left) | {"stage": own["stage"], "seed": planned.seed}
        overlay: Mapping[str, Any] = self.spec.sources
        where = ["compare.sources"]
        if contender is not None:
            overlay, where = contender.overlay, [f"compare.settings.{name}" for name in contender.named]
            config = self._with_option(config, contender)
        config = merged(config, self._untyped(overlay, where))
        config |= self._data_of(planned, contender, parents)
        return config | self._of_the_run(config, planned)

    def _data_of(
        self, planned: Planned, contender: Contender | None, parents: Sequence[Path]
    ) -> dict[str, Any]:
        """What it is trained on."""
        names = [folder.name for folder in parents] or [self.values[task] for task in planned.tasks]
        key = "task" if contender is None else "target"
        value = self.values[planned.task]
        return {"task": None, "target": None, "adapters": names or None} | {key: value}

    def _of_the_run(self, config: dict[str, Any], planned: Planned) -> dict[str, Any]:
        """What each run has of its own, and what all have that no one looks at."""
        trainer = config["trainer"] | {"disable_tqdm": True}
        if planned.learning_rate is not None:
            trainer["learning_rate"] = planned.learning_rate
        data = config["data"]
        if data.get("train_sizes"):
            trained_on = (planned.task, *planned.tasks)
            sizes = {task: size for task, size in data["train_sizes"].items() if task in trained_on}
            data = data | {"train_sizes": sizes}
        if planned.train_size is not None:
            draw = planned.seed if planned.draw is None else planned.draw
            sizes = {**(data.get("train_sizes") or {}), planned.task: planned.train_size}
            data = data | {"train_sizes": sizes, "draw": draw}
        logging = config["logging"]
        logging = logging | {"group": logging.get("group") or self.name}
        # A run goes on from its own checkpoints where a comparison was interrupted.
        return {
            "trainer": trainer,
            "data": data,
            "logging": logging,
            "resume": not self.run.overwrite,
            "dry_run": False,
        }

    def _with_option(self, config: dict[str, Any], contender: Contender) -> dict[str, Any]:
        """The config with the contender's yaml; as composed where the command line chose this very option."""
        composed = config.get(contender.group) or {}
        if self.run.typed.get(contender.group, composed.get("kind")) == contender.option:
            return config
        sections = option_sections(contender.group, contender.option)
        own = sections.pop(contender.group)
        return merged(config, self._untyped(sections, [])) | {contender.group: own}

    def _untyped(self, overlay: Mapping[str, Any], where: Sequence[str], path: str = "") -> dict[str, Any]:
        """The overlay without what the command line says otherwise, unless it says this, too."""
        kept: dict[str, Any] = {}
        for key, value in overlay.items():
            full = f"{path}{key}"
            if isinstance(value, Mapping):
                kept[key] = self._untyped(value, where, f"{full}.")
            elif full not in self.run.typed or any(f"{place}.{full}" in self.run.typed for place in where):
                kept[key] = value
        return kept

    def _names(self, planned: Planned, wanted: Mapping[str, Any]) -> list[str]:
        """Names under which it may be there (as stage 1 gives them, without a learning rate), its plain name, and
        one that no other settings have."""
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:_DIGEST]
        key = planned.key[: store.names.LONGEST - _DIGEST - 1]
        unrated = safe_name(replace(planned, learning_rate=None).key)
        return [planned.task, unrated, safe_name(planned.key), f"{safe_name(key)}-{digest}"]
