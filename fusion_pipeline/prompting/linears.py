"""Low-rank deltas beside linears of any model, found by their paths; no table of the family is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.merging.update import Update
from fusion_pipeline.sites import Site, SiteInput, linear
from fusion_pipeline.sites.table import SiteRow
from fusion_pipeline.sites.taps import Tap

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def attach(model: PreTrainedModel, updates: Mapping[str, Update], where: str) -> Callable[[], None]:
    """W x becomes W x + s·B A x at every path; returns what takes it off again. Weights are not touched.

    A path is that of the whole model, or of its body (`AutoModel`), with or without one leading name. Raises
    `PipelineError` with every path that the model has not, or has in other shapes.
    """
    problems = Problems("the weights do not fit this base", where)
    places = {path: _place(model, path) for path in updates}
    for path, place in places.items():
        problem = "the base has no such linear" if place is None else _misfit(model, place, updates[path])
        if problem is not None:
            problems.add(f"{path}: {problem}")
    problems.refuse(hint="the base it was trained on: base=FOLDER_OR_HUB_ID")
    sites = [_attached(model, place, updates[path]) for path, place in places.items() if place is not None]

    def take_off() -> None:
        for site in sites:
            site.detach()

    return take_off


def _place(model: PreTrainedModel, path: str) -> str | None:
    """The path of this linear below the whole model."""
    stem = model.base_model_prefix
    bare = path.partition(".")[2]
    known = {name for name, _ in model.named_modules()}
    return next((p for p in (path, f"{stem}.{path}", bare, f"{stem}.{bare}") if p and p in known), None)


def _misfit(model: nn.Module, place: str, update: Update) -> str | None:
    try:
        d_in, d_out = linear.widths(model.get_submodule(place), where=place)
    except PipelineError as error:
        return error.what
    rank = update.down.shape[0]
    if rank > 0 and update.down.shape == (rank, d_in) and update.up.shape == (d_out, rank):
        return None
    return f"matrices {tuple(update.down.shape)} and {tuple(update.up.shape)}, and it is {d_in} to {d_out}"


def _attached(model: nn.Module, place: str, update: Update) -> Site:
    row = SiteRow(name=place, read=Tap(path=place, index=0), write=Tap(path=place), linear=True)
    site = Site(row, 0, model)
    weight = model.get_submodule(place).get_parameter("weight")
    down, up = (matrix.to(weight.device, weight.dtype) for matrix in (update.down, update.up))
    site.attach(partial(_delta, down=down, up=up, scale=update.scale))
    return site


def _delta(site: SiteInput, *, down: Tensor, up: Tensor, scale: float) -> Tensor:
    return scale * F.linear(F.linear(site.x, down), up)
