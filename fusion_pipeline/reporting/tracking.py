"""wandb: one run an artefact, offline unless asked otherwise; nothing here runs when it is disabled."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.reporting.heatmap import draw_weights, weight_matrix

MODES = ("offline", "online", "disabled")


@dataclass(frozen=True, kw_only=True)
class TrackingSpec:
    """The `logging` section: wandb's mode, and where its runs are filed."""

    mode: str = "offline"
    project: str = "fusion-pipeline"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        if self.mode not in MODES:
            raise PipelineError(
                f"there is no logging mode '{self.mode}'",
                where="logging.mode",
                hint=did_you_mean(self.mode, MODES),
            )


class Tracker:
    """What a stage tells wandb; silent where there is no run."""

    def __init__(self, run: Any | None) -> None:
        self.run = run

    @property
    def active(self) -> bool:
        """Whether Trainer should report to wandb too."""
        return self.run is not None

    def weights(self, weights: dict[str, Any], step: int) -> None:
        """A table and a heatmap of the fusion's weights, as of this training step."""
        if self.run is None:
            return
        import wandb

        for task, sites in weights.items():
            rows, adapters, table = weight_matrix(sites)
            data = [[row, *values] for row, values in zip(rows, table.tolist(), strict=True)]
            name = f"fusion_weights/{task}"
            self.run.log(
                {name: wandb.Table(columns=["site", *adapters], data=data), "train/global_step": step}
            )
        self.run.log({"fusion_weights/heatmap": wandb.Image(_picture(weights)), "train/global_step": step})

    def finish(self, metrics: dict[str, Any], lineage: dict[str, Any], folder: Path, kind: str) -> None:
        """Final metrics, and the artefact with what it descends from."""
        if self.run is None:
            return
        import wandb

        self.run.summary.update(
            {f"{split}/{k}": v for split in ("validation", "test") for k, v in metrics[split].items()}
        )
        self.run.summary.update({"seconds": metrics["seconds"], "parameters": metrics["parameters"]})
        artefact = wandb.Artifact(_safe(f"{kind}-{folder.name}"), type=kind, metadata=lineage)
        artefact.add_dir(str(folder))
        self.run.log_artifact(artefact)


@contextmanager
def tracking(
    spec: TrackingSpec, *, root: Path, name: str, kind: str, config: dict[str, Any], main: bool
) -> Iterator[Tracker]:
    """A wandb run around a stage, on the main process; its files go below `root`/wandb."""
    if spec.mode == "disabled" or not main:
        # Trainer and its callbacks look at this too.
        os.environ.setdefault("WANDB_DISABLED", "true")
        yield Tracker(None)
        return
    import wandb

    os.environ.pop("WANDB_DISABLED", None)
    os.environ.setdefault("WANDB_SILENT", "true")
    root.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=spec.project,
        entity=spec.entity,
        group=spec.group,
        tags=list(spec.tags),
        name=name,
        job_type=kind,
        config=config,
        mode=spec.mode,  # type: ignore[arg-type]
        dir=str(root),
        reinit="finish_previous",
    )
    code = 1
    try:
        yield Tracker(run)
        code = 0
    finally:
        run.finish(exit_code=code)


def _picture(weights: dict[str, Any]) -> Any:
    # As pixels: handed a figure, wandb reaches for pyplot and its global state.
    from PIL import Image

    buffer = io.BytesIO()
    draw_weights(weights).savefig(buffer, format="png", dpi=100)
    return Image.open(buffer)


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
