"""Which adapters are fused with which before the groups are fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean

WHERE = "fusion.groups"
Groups = dict[str, tuple[str, ...]]


def check_groups(groups: Mapping[str, Any]) -> None:
    """Refuses groups that are empty, no lists, or that share an adapter."""
    home: dict[str, str] = {}
    for group, members in groups.items():
        if not isinstance(members, list | tuple) or not members:
            raise PipelineError(
                f"the group '{group}' is no list of adapters",
                where=WHERE,
                hint="groups={g1: [a, b], g2: [c]}",
            )
        for name in members:
            if name in home:
                raise PipelineError(
                    f"the adapter '{name}' is in two groups: {home[name]} and {group}",
                    where=WHERE,
                    hint="name each adapter once",
                )
            home[name] = group
    if not groups:
        raise PipelineError("there is no group", where=WHERE, hint="null makes pairs of the adapters")


def assign(groups: Mapping[str, Sequence[str]] | None, adapters: Sequence[str]) -> Groups:
    """The groups of these adapters; without any, consecutive pairs named after their members (`a+b`)."""
    if groups is None:
        pairs = [tuple(adapters[n : n + 2]) for n in range(0, len(adapters), 2)]
        return {"+".join(pair): pair for pair in pairs}
    named = [name for members in groups.values() for name in members]
    for name in named:
        if name not in adapters:
            raise PipelineError(
                f"the group member '{name}' is none of the adapters",
                where=WHERE,
                hint=did_you_mean(name, adapters),
            )
    left = [name for name in adapters if name not in named]
    if left:
        raise PipelineError(
            f"adapters without a group: {', '.join(left)}", where=WHERE, hint="put each into one group"
        )
    return {group: tuple(members) for group, members in groups.items()}
