"""One artefact in the making: is it there already, is it half done, where do its checkpoints lie."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run

_CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The artefact `folder` that `run` is to make from `config` (everything its content depends on)."""

    run: Run
    folder: Path
    config: dict[str, Any]

    @property
    def work(self) -> Path:
        """Where checkpoints lie while the artefact is in the making."""
        return self.folder.parent / f".{self.folder.name}.work"

    def is_done(self) -> bool:
        """Whether the artefact is there, from this very config; one from another config is refused."""
        if self.run.overwrite or not (self.folder / store.MANIFEST).is_file():
            return False
        differing = store.same_config(store.verify(self.folder), self.config)
        if differing:
            listed = ", ".join(differing[:6]) + (", …" if len(differing) > 6 else "")
            raise PipelineError(
                f"there is another artefact of this name, made with other settings: {listed}",
                where=str(self.folder),
                hint="name=SOMETHING for another folder, or overwrite=true to replace it",
            )
        return True

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Holds the folder's lock and yields the work folder; refuses a half-done run of another config."""
        with store.lock(self.folder) if self.run.is_main_process else nullcontext():
            if self.run.is_main_process:
                self._prepare()
            yield self.work

    def publish(self, manifest: store.Manifest) -> Any:
        """The fresh folder that becomes the artefact."""
        return store.publish(self.folder, manifest, overwrite=self.run.overwrite)

    def finish(self) -> None:
        """Removes the checkpoints of a run that is done."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _prepare(self) -> None:
        if self.run.overwrite and not self.run.resume:
            shutil.rmtree(self.work, ignore_errors=True)
        if any(self.work.rglob("checkpoint-*")):
            self._check_unfinished()
        self.work.mkdir(parents=True, exist_ok=True)
        aside = self.work / f".{_CONFIG}"
        aside.write_text(json.dumps(self.config, indent=2), encoding="utf-8")
        aside.replace(self.work / _CONFIG)

    def _check_unfinished(self) -> None:
        if not self.run.resume:
            raise PipelineError(
                "an unfinished run of this artefact lies here",
                where=str(self.work),
                hint="resume=true goes on from its last checkpoint, overwrite=true starts anew",
            )
        try:
            former = json.loads((self.work / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            former = None
        if former != json.loads(json.dumps(self.config)):
            raise PipelineError(
                "the unfinished run was started with other settings",
                where=str(self.work),
                hint="resume=true with its settings, or overwrite=true to start anew",
            )
