"""What a comparison runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError, build_from
from fusion_pipeline.run import Run

# Keys of the command line itself; the others lie below `compare`.
TOP = ("contenders", "seeds", "stage1_seeds", "train_sizes", "from_runs")
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class CompareSpec:
    """A comparison's settings.

    Args:
        contenders: Names of baselines, of fusions, or of `settings` that are `like` one of them, in the report's
            order.
        seeds: Of the contenders' runs; a number n stands for 0 … n-1.
        stage1_seeds: Of the source adapters: the i-th seed goes with the (i mod n)-th of these; None gives every
            seed adapters of its own.
        train_sizes: Rows of train that the targets are learnt from; None for all.
        sources: Config sections laid over the run's for source adapters.
        settings: The same for each contender, with `like`, `adapters` and `own_adapter`.
        learning_rates: Contender → grid, `default` for those without one; chosen on validation with the first seed.
        own_adapter: The target's own adapter is among those that contenders get.
        parallel: Jobs at a time.
        latency: Whether the report measures inference.
        study: A csv file that collects the rows of several comparisons.
    """

    contenders: tuple[str, ...] = ("single", "adapterfusion")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    stage1_seeds: tuple[int, ...] | None = None
    train_sizes: tuple[int | None, ...] = (None,)
    sources: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    learning_rates: dict[str, Any] = field(default_factory=dict)
    own_adapter: bool = False
    parallel: int = 1
    latency: bool = True
    study: str | None = None

    def __post_init__(self) -> None:
        for key in ("contenders", "seeds", "stage1_seeds", "train_sizes"):
            values = getattr(self, key)
            if values is not None and len(set(values)) < len(values):
                raise PipelineError("a value is given twice", where=key, hint="name each once")
        for key in ("seeds", "stage1_seeds"):
            _check_seeds(key, getattr(self, key))
        if any(size is not None and size < 1 for size in self.train_sizes) or not self.train_sizes:
            raise PipelineError("a train size is a whole number of 1 or more", where="train_sizes")
        if self.parallel < 1:
            raise PipelineError("at least one job at a time", where="parallel", hint="compare.parallel=2")
        for name, grid in self.learning_rates.items():
            _check_grid(name, grid)

    @classmethod
    def from_run(cls, run: Run) -> CompareSpec:
        """The comparison that a config describes."""
        top = {
            "contenders": run.names("contenders"),
            "seeds": _listed(run.value("seeds")),
            "stage1_seeds": _listed(run.value("stage1_seeds")),
            "train_sizes": _sizes(run.value("train_sizes")),
        }
        target = f"{cls.__module__}.{cls.__qualname__}"
        section = run.section("compare")
        for key in TOP:
            if key in section:
                raise ConfigError(f"'{key}' is no option of compare", where=f"compare.{key}", hint=f"{key}=…")
        try:
            spec: CompareSpec = build_from({"_target_": target, **section, **top}, group="compare")
        except ConfigError as error:
            key = (error.where or "").removeprefix("compare.")
            raise ConfigError(
                error.what, where=key if key in TOP else error.where, hint=error.hint
            ) from error
        return spec

    def stage1_seed(self, seed: int) -> int:
        """The seed of the source adapters that go with a contender's seed."""
        if self.stage1_seeds is None:
            return seed
        return self.stage1_seeds[self.seeds.index(seed) % len(self.stage1_seeds)]

    def rates(self, contender: str) -> tuple[float, ...]:
        """The learning rates to choose from; empty where the trainer's own is taken."""
        return tuple(self.learning_rates.get(contender, self.learning_rates.get(DEFAULT, ())))


def _listed(value: Any) -> Any:
    """A number n as 0 … n-1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return tuple(range(value)) if whole else value


def _sizes(value: Any) -> Any:
    return (None,) if value is None else value if isinstance(value, list | tuple) else (value,)


def _check_seeds(key: str, seeds: tuple[int, ...] | None) -> None:
    if seeds is not None and (not seeds or any(seed < 0 for seed in seeds)):
        raise PipelineError(
            "a comparison needs seeds of 0 or more", where=key, hint=f"{key}=5, {key}=[0,1,2]"
        )


def _check_grid(name: str, grid: Any) -> None:
    numbers = isinstance(grid, list | tuple) and all(
        isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0 for rate in grid
    )
    if not numbers or not grid or len(set(grid)) < len(grid):
        where = f"compare.learning_rates.{name}"
        raise PipelineError(f"{grid!r} is no grid of learning rates", where=where, hint="[1e-4,3e-4,1e-3]")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the mapping `over` laid over it, section by section; neither is changed."""
    found = dict(base)
    for key, value in over.items():
        former = found.get(key)
        if isinstance(value, Mapping) and isinstance(former, Mapping):
            value = merged(former, value)
        found[key] = value
    return found
