"""The runs that a comparison is made of, as data: what each trains, and which others have to be there first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from fusion_pipeline.compare.contenders import ADAPTERS, TASKS, Contender
from fusion_pipeline.compare.spec import CompareSpec

SOURCE, TRIAL, RUN = "source", "trial", "run"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run of a comparison.

    Args:
        role: 'source' (an adapter to be fused), 'trial' (of a learning rate) or 'run' (reported).
        task: What it is trained on.
        seed: Of the run; a source's is its stage-1 seed.
        contender: Empty for a source.
        stage1_seed: That of its source adapters, where it has some.
        train_size: How many rows of train it learns from; None for all.
        draw: The seed that chooses those rows; None for the run's own. A target's own adapter learns from the rows
            that its contender learns from.
        learning_rate: None for the trainer's own, and as long as trials have not decided.
        parents: Keys of the source runs whose adapters it gets, in order.
        tasks: Source tasks whose data it trains on.
        trials: Keys of the runs that decide its learning rate.
    """

    role: str
    task: str
    seed: int
    contender: str = ""
    stage1_seed: int | None = None
    train_size: int | None = None
    draw: int | None = None
    learning_rate: float | None = None
    parents: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from the other runs of the comparison; also how an artefact is called."""
        size = "" if self.train_size is None else f"-n{self.train_size}"
        size += "" if self.draw is None else f"-draw{self.draw}"
        rate = "" if self.learning_rate is None else f"-lr{self.learning_rate:g}"
        contender = f"-{self.contender}" if self.contender else ""
        return f"{self.task}{contender}{size}{rate}-seed{self.seed}"

    @property
    def after(self) -> tuple[str, ...]:
        """Keys of the runs that come first."""
        return (*self.parents, *self.trials)


def plan(
    spec: CompareSpec,
    contenders: Sequence[Contender],
    *,
    targets: Sequence[str],
    sources: Sequence[str],
    rows: Mapping[str, int] | None = None,
) -> list[Planned]:
    """Sources, then every target's trials and runs. Train sizes beyond a target's `rows` are left out."""
    found: dict[str, Planned] = {}
    for target in targets:
        for size in sizes(spec, target, rows or {}):
            for seed in spec.seeds:
                for contender in contenders:
                    for one in _runs(spec, contender, target, size, seed, sources):
                        found.setdefault(one.key, one)
    order = {SOURCE: 0, TRIAL: 1, RUN: 1}
    return sorted(found.values(), key=lambda one: order[one.role])


def sizes(spec: CompareSpec, target: str, rows: Mapping[str, int]) -> list[int | None]:
    """The train sizes that a target has rows for."""
    return [size for size in spec.train_sizes if size is None or size <= rows.get(target, size)]


def sources_of(contender: Contender, target: str, sources: Sequence[str]) -> list[str]:
    """The source tasks of a contender for a target: never the target itself, unless its own adapter is wanted."""
    wanted = [name for name in sources if contender.only is None or name in contender.only]
    others = [name for name in wanted if name != target]
    return [*others, target] if contender.own_adapter and contender.sources == ADAPTERS else others


def left_out(contenders: Sequence[Contender], targets: Sequence[str], sources: Sequence[str]) -> list[str]:
    """The targets that are sources, too, and are left out of their own."""
    without = any(one.sources != "nothing" and not one.own_adapter for one in contenders)
    return [target for target in targets if target in sources] if without else []


def _runs(
    spec: CompareSpec,
    contender: Contender,
    target: str,
    size: int | None,
    seed: int,
    sources: Sequence[str],
) -> Iterable[Planned]:
    """A contender's run with everything that it needs, in order."""
    names = sources_of(contender, target, sources)
    fused = contender.sources == ADAPTERS
    stage1_seed = spec.stage1_seed(seed) if fused else None
    parents = [_source(spec, name, seed, size if name == target else None) for name in names]
    run = Planned(
        role=RUN,
        task=target,
        seed=seed,
        contender=contender.name,
        stage1_seed=stage1_seed,
        train_size=size,
        parents=tuple(parent.key for parent in parents) if fused else (),
        tasks=tuple(names) if contender.sources == TASKS else (),
    )
    first = replace(run, seed=spec.seeds[0], stage1_seed=spec.stage1_seed(spec.seeds[0]) if fused else None)
    if fused:
        yield from parents
    if not contender.rates:
        yield run
        return
    trials = [replace(first, role=TRIAL, learning_rate=rate) for rate in contender.rates]
    if seed == first.seed:
        yield from trials
    yield replace(run, trials=tuple(trial.key for trial in trials))


def _source(spec: CompareSpec, task: str, seed: int, size: int | None) -> Planned:
    stage1_seed = spec.stage1_seed(seed)
    draw = seed if size is not None and seed != stage1_seed else None
    return Planned(role=SOURCE, task=task, seed=stage1_seed, train_size=size, draw=draw)
