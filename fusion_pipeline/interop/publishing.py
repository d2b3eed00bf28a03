"""From a model that was read from foreign files to artefacts of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from fusion_pipeline import store
from fusion_pipeline.artefacts import weights_sha256, write_adapter, write_fusion, write_head
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import Head
from fusion_pipeline.interop.formats import Imported
from fusion_pipeline.job import Job
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.reporting.card import imported_card
from fusion_pipeline.run import Run
from fusion_pipeline.specs import read_columns
from fusion_pipeline.store.names import safe_name
from fusion_pipeline.tasks.spec import TEXT_FIELDS, TaskSpec
from fusion_pipeline.tasks.types import head_type
from fusion_pipeline.workflow import command_line


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """What was imported, and the run that asked for it."""

    run: Run
    model: AdaptedModel
    found: Imported
    source: Path

    def execute(self, parents: dict[str, Path]) -> list[Path]:
        """Writes every artefact: adapters, then the fusion over them, or the head alone; the last is the main one."""
        fused = self.found.fusion
        main = [] if fused else list(self.found.adapter_heads.values())
        tasks = self._tasks([*self.found.heads, *main], renamed=True)
        saved = [self._adapter(name, tasks) for name in self.found.adapters]
        if fused is not None:
            places = parents | dict(zip(self.found.adapters, saved, strict=True))
            saved.append(self._fusion(fused, tasks, places))
        if not saved:
            saved.append(self._head(tasks))
        return saved

    def _adapter(self, name: str, main: list[TaskSpec]) -> Path:
        own_head = [head for adapter, head in self.found.adapter_heads.items() if adapter == name]
        tasks = self._tasks(own_head, renamed=False) if self.found.fusion else main
        own = self.found.fusion is None and self.run.value("name") is not None
        folder = self.run.output_root / "adapters" / (self._name(name) if own else safe_name(name))
        config = {"adapter": _settings(self.model.adapters[name])}
        parts = [self.model.adapters[name], *self._heads(tasks)]
        return self._publish(
            folder, "adapter", config, parts, lambda at: write_adapter(self.model, name, tasks, at)
        )

    def _fusion(self, name: str, tasks: list[TaskSpec], places: dict[str, Path]) -> Path:
        folder = self.run.output_root / "fusion" / self._name("+".join(places))
        lineage = [{"name": p, "sha256": weights_sha256(at)} for p, at in places.items()]
        return self._publish(
            folder,
            "fusion",
            {"fusion": _settings(self.model.fusions[name]), "adapters": lineage},
            [self.model.fusions[name], *self._heads(tasks)],
            lambda at: write_fusion(self.model, name, tasks, at, parents=places, tuned=False),
            parents=lineage,
        )

    def _head(self, tasks: list[TaskSpec]) -> Path:
        if not tasks:
            said = "; ".join(["there is nothing here that can be saved", *self.found.notes])
            raise PipelineError(said, where=str(self.source))
        folder = self.run.output_root / "heads" / self._name(tasks[0].name)
        return self._publish(
            folder, "head", {}, self._heads(tasks), lambda at: write_head(self.model, tasks, at)
        )

    def _heads(self, tasks: Sequence[TaskSpec]) -> list[nn.Module]:
        return [self.model.heads[task.name] for task in tasks]

    def _name(self, base: str) -> str:
        return self.run.artefact_name(safe_name(base))

    def _publish(
        self,
        folder: Path,
        kind: str,
        config: dict[str, Any],
        parts: Sequence[nn.Module],
        write: Callable[[Path], None],
        parents: list[dict[str, Any]] | None = None,
    ) -> Path:
        config = config | self._identity(parts)
        manifest = store.Manifest(
            kind=kind,
            name=folder.name,
            config=config,
            seed=self.run.seed,
            backbone=self.model.info.describe(),
            parents=parents or [],
            notes=self.found.notes,
        )
        job = Job(run=self.run, folder=folder, config=config)
        if job.is_done():
            self.run.console.print(f"{folder} is there already, with these very weights", soft_wrap=True)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with job.publish(manifest) as staging:
            write(staging)
            text = yaml.safe_dump(self.run.config, sort_keys=False)
            (staging / "config.yaml").write_text(text, encoding="utf-8")
            (staging / "README.md").write_text(imported_card(manifest, command_line()), encoding="utf-8")
        return folder

    def _identity(self, parts: Sequence[nn.Module]) -> dict[str, Any]:
        backbone = {key: value for key, value in self.run.section("backbone").items() if key != "_target_"}
        return {
            "stage": self.run.stage,
            "format": self.run.value("format"),
            "backbone": backbone,
            "backbone_weights": self.model.info.fingerprint,
            "weights": _digest(parts),
            "columns": asdict(read_columns(self.run)),
        }

    def _tasks(self, heads: Sequence[str], *, renamed: bool) -> list[TaskSpec]:
        """What heads answer; `columns.labels` names classes anew, `columns.text_pair` makes them read pairs."""
        columns, tasks = read_columns(self.run), []
        for name in heads:
            head = self.model.heads[name]
            assert isinstance(head, Head)
            if renamed and columns.labels is not None:
                head.spec = replace(head.spec, labels=_renamed(head, tuple(map(str, columns.labels))))
            tasks.append(_task(name, head, pair=columns.text_pair is not None))
        return tasks


def _renamed(head: Head, names: tuple[str, ...]) -> tuple[str, ...]:
    if head.spec.labels is None or len(names) != len(head.spec.labels):
        raise PipelineError(
            f"the head has {head.spec.outputs} classes, and {len(names)} names are given",
            where="columns.labels",
        )
    return names


def _task(name: str, head: Head, *, pair: bool) -> TaskSpec:
    kind = head_type(head.spec.type)
    metric, text = kind.metric(None, None, head.spec.labels), kind.fields or TEXT_FIELDS[1 if pair else 0]
    return TaskSpec(name=name, type=kind.name, labels=head.spec.labels, metric=metric, text=text)


def _settings(part: Any) -> dict[str, Any]:
    assert isinstance(part, PerSite)
    return asdict(part.spec)  # type: ignore[call-overload]


def _digest(parts: Sequence[nn.Module]) -> str:
    """sha256 over the weights themselves, whatever files they came in."""
    digest = hashlib.sha256()
    for part in parts:
        for key, value in sorted(part.state_dict().items()):
            digest.update(f"{key} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
