"""A contender's name → what runs: a baseline, a fusion, or a variant of one that `compare.settings` describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_pipeline.compare.spec import DEFAULT, CompareSpec, merged
from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry import ConfigError, config_file, load_yaml, locate, options, true_or_false
from fusion_pipeline.run import Run, as_list

# Config groups whose options are contenders, in the order they are looked in → where their artefacts lie. The group is
# the stage's name, too.
PLACES = {"baseline": "baselines", "fusion": "fusion"}
# The stage that trains source adapters, and where they lie.
STAGE1 = "adapters"
NOTHING, ADAPTERS, TASKS = "nothing", "adapters", "tasks"
_OWN = ("like", "adapters", "own_adapter")
_NOT_LAID_OVER = ("stage", "compare", "data", "columns", "logging")


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One contender.

    Args:
        name: As the report calls it.
        group: The config group and stage that run it: 'baseline' or 'fusion'.
        option: Its yaml there.
        sources: What it is made of besides the target: 'nothing', 'adapters' or 'tasks'.
        only: Those of the sources that it gets; None for all.
        own_adapter: Whether the target's own adapter is among its adapters.
        overlay: Config sections laid over the run's.
        named: The entries of `compare.settings` that these stem from: its own, and those of what it is like.
        rates: Learning rates to choose from.
    """

    name: str
    group: str
    option: str
    sources: str = NOTHING
    only: tuple[str, ...] | None = None
    own_adapter: bool = False
    overlay: Mapping[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()

    @property
    def place(self) -> str:
        """The folder below `output_root` that holds its artefacts."""
        return PLACES[self.group]


def find_contenders(run: Run, spec: CompareSpec) -> list[Contender]:
    """All contenders in order; a name, section or source that is not there is refused."""
    for name in spec.settings:
        _check_settings(run, spec, name)
        _settings(spec, name, [])
    for name in spec.learning_rates:
        if name != DEFAULT and name not in {*_options(), *spec.settings}:
            raise _unknown(name, [*_options(), *spec.settings, DEFAULT], "compare.learning_rates")
    found = [_contender(run, spec, name) for name in spec.contenders]
    _check_trials(found)
    _check_typed(run, found)
    return found


def _contender(run: Run, spec: CompareSpec, name: str) -> Contender:
    settings, named = _settings(spec, name, [])
    option = settings["like"]
    group = next(group for group in PLACES if option in options(group))
    own = settings["own_adapter"]
    only = as_list(settings["adapters"], where=f"compare.settings.{name}.adapters") or None
    return Contender(
        name=name,
        group=group,
        option=option,
        sources=_sources(group, option),
        only=None if only is None else _known(only, run.names("adapters"), name),
        own_adapter=spec.own_adapter and group == "fusion" if own is None else own,
        overlay={key: value for key, value in settings.items() if key not in _OWN},
        named=named,
        rates=spec.rates(name),
    )


def _settings(spec: CompareSpec, name: str, seen: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A contender's settings over those of what it is like, whose names come along; `like` ends as a yaml's name."""
    own = dict(spec.settings.get(name) or {})
    base: dict[str, Any] = {"like": name, "adapters": None, "own_adapter": None}
    named: tuple[str, ...] = ()
    like, known = own.pop("like", None), [*_options(), *spec.settings]
    if like is None and name not in _options():
        raise _unknown(name, known, "contenders")
    if like is not None:
        if like in (*seen, name):
            raise ConfigError(f"'{name}' is like itself", where=f"compare.settings.{name}.like")
        if like not in known:
            raise _unknown(like, known, f"compare.settings.{name}.like")
        base, named = _settings(spec, like, [*seen, name])
    return merged(base, own), (name, *named)


def _check_settings(run: Run, spec: CompareSpec, name: str) -> None:
    settings, where = spec.settings[name], f"compare.settings.{name}"
    if not isinstance(settings, dict):
        raise ConfigError(f"{settings!r} is no group of settings", where=where, hint=f"{where}.trainer.…=…")
    if name not in _options() and "like" not in settings:
        raise _unknown(name, [*_options(), *spec.contenders], where)
    check_sections(run, {key: value for key, value in settings.items() if key not in _OWN}, where, extra=_OWN)
    true_or_false(settings.get("own_adapter", False), f"{where}.own_adapter")


def check_sections(run: Run, overlay: Mapping[str, Any], where: str, *, extra: Sequence[str] = ()) -> None:
    """Refuses sections that the config does not have."""
    known = {key for key, value in run.config.items() if isinstance(value, dict)} | set(PLACES)
    known -= set(_NOT_LAID_OVER)
    for key, value in overlay.items():
        if key not in known:
            hint = did_you_mean(key, [*known, *extra])
            raise ConfigError(f"there is no option '{key}'", where=f"{where}.{key}", hint=hint)
        if not isinstance(value, dict):
            raise ConfigError(f"{value!r} cannot stand for the options of '{key}'", where=f"{where}.{key}")


def _check_typed(run: Run, contenders: Sequence[Contender]) -> None:
    """Refuses what the command line says of a fusion that does not take part."""
    for key in run.typed:
        group = key.partition(".")[0]
        if group not in PLACES:
            continue
        chosen = run.typed.get(group, (run.config.get(group) or {}).get("kind"))
        if (group, chosen) not in {(one.group, one.option) for one in contenders}:
            hint = f"contenders=[…,{chosen}], or compare.settings.CONTENDER.{group}.…"
            raise ConfigError(f"no contender is '{chosen}'", where=key, hint=hint)


def _check_trials(contenders: Sequence[Contender]) -> None:
    """As many trials for each: else one would be tuned harder than another."""
    counts = {contender.name: len(contender.rates) for contender in contenders}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count or 'none'}" for name, count in counts.items())
        raise ConfigError(
            f"contenders would be tuned with different numbers of learning rates: {listed}",
            where="compare.learning_rates",
            hint="as many values for each; compare.learning_rates.default=[…] is for those without their own",
        )


def _sources(group: str, option: str) -> str:
    """What a contender is made of; a baseline's spec says it itself."""
    if group == "fusion":
        return ADAPTERS
    section = option_sections(group, option)[group]
    spec = locate(str(section["_target_"]), where=f"{group}={option}")
    takes = getattr(spec, "takes", None)
    if takes not in (NOTHING, ADAPTERS, TASKS):
        what = f"the baseline '{option}' does not say whether it takes nothing, adapters or tasks"
        raise ConfigError(what, where=f"{group}={option}", hint='takes: ClassVar[str] = "nothing"')
    return str(takes)


def option_sections(group: str, option: str) -> dict[str, Any]:
    """The config sections that a contender's yaml sets: its own, and defaults of others where it is a global one."""
    content = load_yaml(config_file(group, option))
    return content if "_target_" not in content else {group: content}


def _known(names: Sequence[str], adapters: Sequence[str], contender: str) -> tuple[str, ...]:
    for name in names:
        if name not in adapters:
            raise _unknown(name, adapters, f"compare.settings.{contender}.adapters")
    return tuple(names)


def _options() -> list[str]:
    return [name for group in PLACES for name in options(group)]


def _unknown(name: str, known: Sequence[str], where: str) -> ConfigError:
    return ConfigError(f"there is no contender '{name}'", where=where, hint=did_you_mean(name, known))
