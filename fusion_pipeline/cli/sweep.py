"""What tells the members of a sweep apart: the overrides that vary, as a suffix of every artefact's name.

`-m ... fusion.dropout=0,0.1 seed=1,2` gives `-fusion.dropout=0-seed=1`, `-fusion.dropout=0-seed=2`, …:
keys in alphabetical order, constant overrides left out, unsafe characters as in `store.safe_name`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from hydra.errors import HydraException

from fusion_pipeline.cli import keys
from fusion_pipeline.cli.grammar import read
from fusion_pipeline.store import safe_name

LONGEST = 80
# A plain task name already is the artefact's name; a path's last part need not be unique.
_NAMING = {"adapters": ("task",), "fusion": ("target",), "baseline": ("baseline", "target")}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def constant_keys(words: Sequence[str]) -> frozenset[str]:
    """The keys that have the same value in every run; the last word for a key counts."""
    varies = {parts[1]: _varies(read(parts[2])) for word in words if (parts := keys.split(word))}
    return frozenset(key for key, changes in varies.items() if not changes)


def varying(job_words: Sequence[str], constant: frozenset[str]) -> dict[str, str]:
    """The overrides of one run that other runs of the sweep have otherwise, by key in alphabetical order."""
    found = {parts[1]: _text(parts[2]) for word in job_words if (parts := keys.split(word))}
    return {key: found[key] for key in sorted(found) if key not in constant}


def name_suffix(changed: dict[str, str], config: dict[str, Any]) -> str:
    """What an artefact's name ends with: `-key=value` for each override that varies, if any does."""
    named_by = _NAMING.get(config["stage"]["name"], ()) if config.get("name") is None else ("name",)
    left = {
        key: value
        for key, value in changed.items()
        if key not in named_by or not _PLAIN_NAME.fullmatch(value)
    }
    text = "-".join(f"{key}={value}" for key, value in left.items())
    return f"-{safe_name(text, longest=LONGEST)}" if text else ""


def agent_suffix() -> str:
    """What a run that wandb's sweep agent has started is called after: the agent's name for it; else nothing."""
    agent = os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID")
    return f"-{safe_name(agent, longest=LONGEST)}" if agent else ""


def _varies(override: Any) -> bool:
    if override is None or not override.is_sweep_override():
        return False
    try:
        return len(list(override.sweep_string_iterator())) > 1
    except HydraException:  # a glob or an interval: only the sweeper knows its choices
        return True


def _text(value: str) -> str:
    override = read(value)
    meant = None if override is None else override.value()
    return meant if isinstance(meant, str) else value
