"""What a stage gets: the composed config as plain Python, and the few values every stage needs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import did_you_mean
from fusion_pipeline.registry import ConfigError, check_trust, true_or_false
from fusion_pipeline.store import check_name

if TYPE_CHECKING:
    from rich.console import Console

FLAGS = ("overwrite", "resume", "dry_run", "debug")
MAX_SEED = 2**32 - 1  # numpy's limit, the tightest of the generators that get it


def rank() -> int:
    """The rank of this process under torchrun or accelerate, 0 elsewhere."""
    return int(os.environ.get("RANK", "0"))


def as_list(value: Any, *, where: str | None = None) -> list[str]:
    """One name, a list of names or nothing, as a list of names (a folder may be called 2024)."""
    items = [] if value is None else value if isinstance(value, list | tuple) else [value]
    names = [
        str(item) if isinstance(item, int | float) and not isinstance(item, bool) else item for item in items
    ]
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{name!r} is not a name", where=where, hint="[a,b] is a list of names")
    return names


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one stage.

    Args:
        config: The whole composed config: dicts, lists and plain values only.
        stage: The stage's name.
        output_root: The folder that holds everything runs leave.
        seed: For every generator of the run.
        overwrite: Replace an artefact that was made with another config.
        resume: Go on from the last checkpoint.
        dry_run: Check everything, train nothing.
        debug: Show tracebacks.
        trust: Modules that artefacts may take classes of their own kinds from.
        name_suffix: What tells this member of a sweep from the others; empty outside of sweeps.
        typed: The keys that the command line itself gives, with their values as text.
        swept: The keys that vary over the sweep this run is a member of.
    """

    config: dict[str, Any]
    stage: str
    output_root: Path
    seed: int = 0
    overwrite: bool = False
    resume: bool = False
    dry_run: bool = False
    debug: bool = False
    trust: tuple[str, ...] = ()
    name_suffix: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    swept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(
                f"{self.seed!r} is not a seed", where="seed", hint=f"a whole number from 0 to {MAX_SEED}"
            )
        for flag in FLAGS:
            true_or_false(getattr(self, flag), flag)

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        *,
        name_suffix: str = "",
        typed: Mapping[str, str] | None = None,
        swept: Sequence[str] = (),
    ) -> Run:
        """The run that a composed config describes."""
        root = config.get("output_root")
        if not isinstance(root, str) or not root.strip():
            raise ConfigError(f"{root!r} is not a folder", where="output_root", hint="output_root=outputs")
        return cls(
            config=config,
            stage=config["stage"]["name"],
            output_root=Path(root).expanduser(),
            seed=config.get("seed", 0),
            trust=check_trust(config.get("trust") or []),
            name_suffix=name_suffix,
            typed=typed or {},
            swept=tuple(swept),
            **{flag: config.get(flag, False) for flag in FLAGS},
        )

    def section(self, name: str) -> dict[str, Any]:
        """A copy of one config group (`adapter`, `trainer`, …)."""
        value = self.config.get(name)
        if not isinstance(value, dict):
            groups = [key for key, section in self.config.items() if isinstance(section, dict)]
            raise ConfigError(f"the config has no group '{name}'", hint=did_you_mean(name, groups))
        return deepcopy(value)

    def value(self, name: str) -> Any:
        """A plain value (`task`, `target`, …); None where it was not given."""
        return deepcopy(self.config.get(name))

    def flag(self, name: str) -> bool:
        """A plain value that is true or false; false where the stage has no such key."""
        return true_or_false(self.config.get(name, False), name)

    def required(self, name: str, *, example: str) -> Any:
        """A plain value that this stage cannot do without."""
        value = self.value(name)
        if value is None or value == []:
            raise ConfigError(f"stage={self.stage} needs {name}=", hint=example)
        return value

    def names(self, name: str) -> list[str]:
        """A plain value that is one name or a list of them, as a list."""
        return as_list(self.value(name), where=name)

    def artefact_name(self, base: str) -> str:
        """`name=` or else `base`, and what tells members of a sweep apart: the artefact's folder name."""
        given = self.value("name")
        return check_name((base if given is None else str(given)) + self.name_suffix, where="name")

    @property
    def is_main_process(self) -> bool:
        """Whether this process prints and writes (rank 0)."""
        return rank() == 0

    @cached_property
    def console(self) -> Console:
        """Where to print; silent on every rank but 0."""
        from rich.console import Console

        return Console(quiet=not self.is_main_process, highlight=False)


__all__ = ["Run", "as_list", "rank"]
