"""wandb: one run an artefact, offline unless asked otherwise; nothing here runs when it is disabled."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.reporting.heatmap import draw_weights, weight_matrix
from fusion_pipeline.store import safe_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("offline", "online", "disabled")
SCORE = "validation/score"


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
        for task, sites in weights.items():
            rows, adapters, table = weight_matrix(sites)
            data = [[row, *values] for row, values in zip(rows, table.tolist(), strict=True)]
            self.table(f"fusion_weights/{task}", ["site", *adapters], data, step=step)
        self._log({"fusion_weights/heatmap": _image(draw_weights(weights))}, step)

    def table(
        self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, step: int | None = None
    ) -> None:
        """A table, as of a training step where there is one."""
        if self.run is None:
            return
        import wandb

        self._log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])}, step)

    def pictures(self, folder: Path) -> None:
        """Every PNG of a folder, under its name."""
        if self.run is None:
            return
        import wandb

        found = sorted(folder.glob("*.png"))
        self._log({f"{folder.parent.name}/{path.stem}": wandb.Image(str(path)) for path in found}, None)

    def finish(
        self, metrics: dict[str, Any], lineage: dict[str, Any], folder: Path, kind: str, *, score: float
    ) -> None:
        """Final metrics, and the artefact with what it descends from.

        `score` is logged as `validation/score`, whatever the task's metric is called: what a sweep goes by.
        """
        if self.run is None:
            return
        self._log({SCORE: score}, None)
        self.run.summary.update(
            {f"{split}/{k}": v for split in ("validation", "test") for k, v in metrics[split].items()}
        )
        self.run.summary.update(
            {SCORE: score, "seconds": metrics["seconds"], "parameters": metrics["parameters"]}
        )
        self.artefact(folder, kind, lineage)

    def artefact(self, folder: Path, kind: str, lineage: dict[str, Any]) -> None:
        """A folder as wandb's artefact `<kind>-<name>`, with where it comes from as metadata."""
        if self.run is None:
            return
        import wandb

        artefact = wandb.Artifact(artefact_name(kind, folder.name), type=kind, metadata=lineage)
        artefact.add_dir(str(folder))
        self.run.log_artifact(artefact)

    def _log(self, values: dict[str, Any], step: int | None) -> None:
        assert self.run is not None
        if values:
            self.run.log(values if step is None else {**values, "train/global_step": step})


@contextmanager
def tracking(
    spec: TrackingSpec,
    *,
    root: Path,
    name: str,
    job_type: str,
    config: dict[str, Any],
    main: bool,
    group: str | None = None,
    tags: Sequence[str] = (),
) -> Iterator[Tracker]:
    """A wandb run around a stage, on the main process; its files go below `root`/wandb.

    `group` and `tags` stand beside those of the spec, whose group wins.
    """
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
        group=_short(spec.group or group),
        tags=[str(_short(tag, 64)) for tag in dict.fromkeys((*spec.tags, *tags))],
        name=name,
        job_type=job_type,
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


def artefact_name(kind: str, name: str) -> str:
    """What an artefact of ours is called at wandb."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in f"{kind}-{name}")


def _short(text: str | None, longest: int = 128) -> str | None:
    """wandb refuses longer groups (128) and tags (64)."""
    return text if text is None or len(text) <= longest else safe_name(text, longest=longest)


def _image(figure: Figure) -> Any:
    # As pixels: handed a figure, wandb reaches for pyplot and its global state.
    import wandb
    from PIL import Image

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return wandb.Image(Image.open(buffer))
