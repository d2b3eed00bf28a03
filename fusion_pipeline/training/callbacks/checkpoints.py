"""Checkpoints that survive a kill: each is marked once it is whole, and only then are older ones removed."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MARK = "complete.json"


class KeepCheckpoints(TrainerCallback):
    """Marks a finished checkpoint with the sizes of its files and prunes older ones.

    Trainer would prune before anything says that the new checkpoint is whole; it is therefore given no
    limit and this callback keeps the newest `limit` and the best.
    """

    def __init__(self, limit: int | None, seconds_before: float = 0.0) -> None:
        self.limit = limit
        self.seconds_before = seconds_before
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time so far, that of an interrupted start included."""
        return self.seconds_before + time.monotonic() - self._started

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Marks the checkpoint just written, then prunes."""
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        sizes = {file.name: file.stat().st_size for file in folder.iterdir() if file.name != MARK}
        aside = folder / f".{MARK}"
        aside.write_text(json.dumps({"seconds": self.seconds, "files": sizes}), encoding="utf-8")
        aside.replace(folder / MARK)
        self._prune(folder.parent, state.best_model_checkpoint)

    def _prune(self, root: Path, best: str | None) -> None:
        if not self.limit:
            return
        kept = {folder.name for folder in _ordered(root)[-self.limit :]} | {Path(best).name if best else ""}
        for folder in _ordered(root):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def last_checkpoint(root: Path) -> Path | None:
    """The newest whole checkpoint; half-written ones, left by a kill, are removed."""
    whole = None
    for folder in _ordered(root):
        if _is_whole(folder):
            whole = folder
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return whole


def seconds_of(checkpoint: Path) -> float:
    """Training time up to a checkpoint."""
    return float(json.loads((checkpoint / MARK).read_text(encoding="utf-8"))["seconds"])


def _ordered(root: Path) -> list[Path]:
    found = [folder for folder in root.glob("checkpoint-*") if folder.name.split("-")[1].isdigit()]
    return sorted(found, key=lambda folder: int(folder.name.split("-")[1]))


def _is_whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / MARK).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False
