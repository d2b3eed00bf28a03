"""Bottlenecks made by a hypernetwork (HyperFormer: Karimi Mahabadi et al., ACL 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import LowRankAdapter
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout
from fusion_pipeline.adapters.spec import Between, LowRank
from fusion_pipeline.errors import PipelineError

_TASKS = "common.generator.task"


@dataclass(frozen=True, kw_only=True)
class HyperSpec(Narrow):
    """Settings of adapters that one generator makes for all sites (HyperFormer++, section 2.3 of the paper).

    `embedding` is e, the width of a task's and a site's embedding. `tasks` are the names of the T tasks that have
    an embedding of their own in one generator; a run with `shared=true` sets them. Without names there is one task.
    Parameters at a site: e; in common 2e² + (1 + T)·e + e·(R·D_in + R + D_out·R + D_out), which every site uses.
    Raises `PipelineError` for a value out of range, and for sites of different widths.
    """

    kind: str = "hyper"
    embedding: int = 16
    activation: str = "gelu"
    dropout: float = 0.0
    scaling: float = 1.0
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tasks", tuple(self.tasks))
        require(len(set(self.tasks)) == len(self.tasks), "tasks", list(self.tasks), "each task once")
        require(self.embedding >= 1, "embedding", self.embedding, "a whole number of at least 1")
        require_dropout(self.dropout)
        require_activation(self.activation)

    def build(self, d_in: int, d_out: int) -> Hyper:
        """The adapter module for one site, with a generator that becomes common to all."""
        return Hyper(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """e: the site's embedding."""
        return self.embedding

    def common_count(self, d_in: int, d_out: int) -> int:
        """2e² + e + T·e + e·(R·D_in + R + D_out·R + D_out): projector, task embeddings, generator."""
        width, e = self.bottleneck(d_in), self.embedding
        embeddings = max(1, len(self.tasks)) * e
        return 2 * e * e + e + embeddings + e * (width * d_in + width + d_out * width + d_out)

    def for_tasks(self, tasks: Sequence[str]) -> HyperSpec:
        """The same with an embedding for each of several tasks."""
        return replace(self, tasks=tuple(tasks) if len(tasks) > 1 else ())

    def of_task(self, task: str, state: Mapping[str, Tensor]) -> tuple[HyperSpec, dict[str, Tensor]]:
        """The adapter of one of its tasks, with its share of a saved state: one task, one embedding."""
        row = state[_TASKS][self.tasks.index(task)]
        return replace(self, tasks=()), {**state, _TASKS: row}


class Hyper(LowRankAdapter):
    """Δ(x) = s·(U drop(φ(D x + b)) + c) with (D, b, U, c) = generator(task, site embedding).

    `task` is the one that the forward under way is of; where there are several, each forward chooses.
    """

    common = ("generator",)

    def __init__(self, spec: HyperSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        self.site = nn.Parameter(torch.randn(spec.embedding))
        self.generator = Generator(spec, d_in, d_out)
        self.task: str | None = spec.tasks[0] if spec.tasks else None

    def choose(self, task: str | None) -> None:
        """Makes the weights of this task from now on; one that the generator has no embedding of is refused."""
        if not self.spec.tasks:
            return
        if task not in self.spec.tasks:
            said = "no task is named" if task is None else f"'{task}' is none of them"
            raise PipelineError(
                f"this generator makes an adapter for each of {', '.join(self.spec.tasks)}, and {said}",
                where="task",
                hint="a head of one of these names, or model(..., task=NAME)",
            )
        self.task = task

    def low_rank(self) -> LowRank:
        """What the generator makes for this site, and the task chosen."""
        tasks = self.spec.tasks
        number = tasks.index(self.task) if self.task is not None else None
        down, down_bias, up, up_bias = self.generator(self.site, number)
        return LowRank(
            down=down,
            down_bias=down_bias,
            up=up,
            up_bias=up_bias,
            scale=self.spec.scaling,
        )

    def between(self) -> Between:
        """Activation and dropout as the settings say."""
        return Between(
            width=self.generator.shapes[1][0],
            activation=self.spec.activation,
            function=ACTIVATIONS[self.spec.activation],
            dropout=self.spec.dropout if self.training else 0.0,
        )


class Generator(nn.Module):
    """I = relu(P [z; l] + p); D = W_D I, b = W_b I, U = W_U I, c = W_c I.

    Shapes: task z and site l (e,) → I (e,) → D (R, D_in), b (R,), U (D_out, R), c (D_out,); the embeddings of
    several tasks are (T, e). W_U and W_c start at zero, so that training starts at the bare backbone.
    """

    def __init__(self, spec: HyperSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        width, e = spec.bottleneck(d_in), spec.embedding
        self.shapes = ((width, d_in), (width,), (d_out, width), (d_out,))
        self.task = nn.Parameter(torch.randn(*([len(spec.tasks)] if spec.tasks else []), e))
        self.projector = nn.Linear(2 * e, e)
        self.down = nn.Parameter(torch.randn(width * d_in + width, e) * (2 / (e * d_in)) ** 0.5)
        self.up = nn.Parameter(torch.zeros(d_out * width + d_out, e))

    def forward(self, site: Tensor, number: int | None = None) -> list[Tensor]:
        """D, b, U and c of a site; `number` is the task's, where there are several."""
        task = self.task if number is None else self.task[number]
        made = torch.relu(self.projector(torch.cat([task, site])))
        flat = torch.cat([self.down @ made, self.up @ made])
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        return [piece.view(shape) for piece, shape in zip(flat.split(sizes), self.shapes, strict=True)]
