"""How long each contender takes to answer a batch, next to the reference, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from fusion_pipeline.compare.comparing import reference_of
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

BATCH, WARM_UP = 16, 2
# Rounds for each contender: as many as fit into the time, between these two.
FEWEST, MOST, SECONDS = 5, 20, 15.0


def measure_latencies(
    outcomes: Sequence[Outcome], load: Callable[[Outcome], AdaptedModel]
) -> tuple[dict[str, float], list[str]]:
    """{contender: median over rounds of its time / the reference's}, and notes on what could not be measured.

    The run of the first seed, on the first target that both have; the same batch of test examples. The two answer
    in turn, so that whatever else the machine does falls on both; no more than two models are held.
    """
    reference = reference_of(outcomes)
    found, notes = {reference: 1.0}, []
    for contender in dict.fromkeys(o.contender for o in outcomes if o.contender != reference):
        pair = _pair(outcomes, reference, contender)
        if pair is None:
            continue
        try:
            found[contender] = _ratio(*(_forward(load(one), one) for one in pair))
        except PipelineError as error:
            notes.append(f"Latency of {contender} was not measured: {error.what}.")
    return found, notes


def load_outcome(outcome: Outcome) -> AdaptedModel:
    """The model of a run, on the best device there is."""
    import torch

    from fusion_pipeline.artefacts import load_model

    model = load_model(outcome.folder)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _pair(outcomes: Sequence[Outcome], reference: str, contender: str) -> tuple[Outcome, Outcome] | None:
    """The first runs of both on one target, all training data before fewer."""
    for target in dict.fromkeys(outcome.task.name for outcome in outcomes):
        firsts = []
        for name in (reference, contender):
            own = [o for o in outcomes if (o.task.name, o.contender) == (target, name)]
            firsts += sorted(own, key=lambda o: (o.train_size is not None, o.seed))[:1]
        if len(firsts) == 2:
            return firsts[0], firsts[1]
    return None


def _forward(model: AdaptedModel, outcome: Outcome) -> Callable[[], None]:
    """One forward over the same first test examples, tokens and padding included beforehand."""
    import torch

    from fusion_pipeline.prediction import model_inputs

    inputs: dict[str, Any] = model_inputs(model, given_rows(outcome, BATCH), task=outcome.task.name)
    cuda = next(model.parameters()).device.type == "cuda"

    @torch.no_grad()
    def forward() -> None:
        model(**inputs)
        if cuda:
            torch.cuda.synchronize()

    return forward


def given_rows(outcome: Outcome, count: int) -> list[Any]:
    """The first test examples as `predict` takes them."""
    fields = outcome.task.text
    rows = outcome.predictions[:count]
    return [row[fields[0]] if len(fields) == 1 else tuple(row[key] for key in fields) for row in rows]


def _ratio(reference: Callable[[], None], contender: Callable[[], None]) -> float:
    for _ in range(WARM_UP):
        reference()
        contender()
    ratios: list[float] = []
    started = time.perf_counter()
    while len(ratios) < FEWEST or (len(ratios) < MOST and time.perf_counter() - started < SECONDS):
        # Who goes first changes, so that neither always finds the other's caches.
        order = (reference, contender) if len(ratios) % 2 == 0 else (contender, reference)
        took = {one: _seconds(one) for one in order}
        ratios.append(took[contender] / took[reference])
    return median(ratios)


def _seconds(forward: Callable[[], None]) -> float:
    start = time.perf_counter()
    forward()
    return time.perf_counter() - start
