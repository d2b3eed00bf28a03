"""What every baseline says of itself, and what it gets to work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.job import Job
    from fusion_pipeline.run import Run
    from fusion_pipeline.specs import Specs
    from fusion_pipeline.tasks.data import TaskData
    from fusion_pipeline.workflow import Training

Takes = Literal["nothing", "adapters", "tasks"]
"""What `adapters=` is to a baseline: not looked at, trained adapters, or tasks whose data it trains on."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a baseline is trained from; everything is read and checked.

    `backbone` is loaded and frozen. `adapters` are {name: folder} where the baseline takes adapters, `sources` the
    other tasks' data, without the target's, where it takes tasks.
    """

    job: Job
    specs: Specs
    name: str
    target: TaskData
    backbone: Backbone
    adapters: Mapping[str, Path]
    sources: Sequence[TaskData]

    @property
    def run(self) -> Run:
        """The run this belongs to."""
        return self.job.run


class Baseline(Protocol):
    """A checked description of a baseline; `prepare` builds what trains, and says how it trains and is written.

    `sections` are the config groups that it reads beside those that every training does.
    """

    takes: ClassVar[Takes]
    sections: ClassVar[tuple[str, ...]]

    @property
    def kind(self) -> str:
        """The config's name, `configs/baseline/<kind>.yaml`."""
        ...

    def prepare(self, given: Given) -> Training:
        """The untrained model; raises `PipelineError` for what cannot be trained from."""
        ...
