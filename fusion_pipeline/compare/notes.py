"""How a comparison was made, in plain sentences for its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusion_pipeline.compare.contenders import ADAPTERS

if TYPE_CHECKING:
    from fusion_pipeline.compare.running import Comparison


def notes(comparison: Comparison) -> list[str]:
    """Seeds, sources, learning rates, and what is missing."""
    spec, board = comparison.workshop.spec, comparison.board
    said = [_seeds(comparison)] if _fused(comparison) else []
    said += [
        f"{name} is a source, too: its own adapter is not among its sources." for name in comparison.left_out
    ]
    choices = board.choices()
    if choices:
        trials, seed = len(choices[0]["trials"]), choices[0]["seed"]
        said.append(
            f"Learning rates were chosen on validation with seed {seed}, by {trials} trials for every contender "
            "on every target; no test score was looked at."
        )
        said += [_choice(choice) for choice in choices]
    else:
        said.append("Every contender ran with one learning rate, its own; none was chosen here.")
    if spec.train_sizes != (None,):
        said.append(
            "Few examples: drawn by the run's seed, fewer are among more; validation and test are whole."
        )
    return said + [f"Missing: {e.planned.key}: {(e.error or '').splitlines()[0]}." for e in board.missing()]


def _fused(comparison: Comparison) -> bool:
    return any(one.sources == ADAPTERS for one in comparison.workshop.contenders.values())


def _seeds(comparison: Comparison) -> str:
    spec = comparison.workshop.spec
    if spec.stage1_seeds is None:
        return "Every seed has source adapters of its own, trained with the same seed."
    pairs = ", ".join(f"{seed} over {spec.stage1_seed(seed)}" for seed in spec.seeds)
    return f"Seeds of the contenders over seeds of their source adapters: {pairs}."


def _choice(choice: dict[str, Any]) -> str:
    size = "" if choice["train_size"] is None else f" with {choice['train_size']} rows"
    trials = ", ".join(
        f"{trial['learning_rate']:g}: "
        + ("failed" if trial["validation"] is None else f"{100 * trial['validation']:.1f}")
        for trial in choice["trials"]
    )
    chosen = "none" if choice["chosen"] is None else f"{choice['chosen']:g}"
    return (
        f"{choice['task']}{size}, {choice['contender']}: {chosen} (validation {choice['metric']} {trials})."
    )
