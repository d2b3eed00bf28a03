"""Seeded, stratified draws of positions."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence


def draw_stratified(strata: Sequence[Hashable], count: int, *, leave: int, seed: str) -> list[int]:
    """Positions of about `count` items, each stratum in proportion, in their original order.

    At least one of each stratum is drawn and at least `leave` stay behind; where both cannot be,
    the item stays.
    """
    members: dict[Hashable, list[int]] = {}
    for position, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(position)
    rng = random.Random(seed)
    shares = share_out({stratum: len(group) for stratum, group in members.items()}, count, leave)
    drawn = [rng.sample(members[stratum], share) for stratum, share in shares.items()]
    return sorted(position for group in drawn for position in group)


def share_out(sizes: Mapping[Hashable, int], count: int, leave: int) -> dict[Hashable, int]:
    """How many to draw of each stratum: proportional by largest remainder, then at least one of each."""
    total = sum(sizes.values())
    most = {stratum: max(size - leave, 0) for stratum, size in sizes.items()}
    exact = {stratum: count * size / total for stratum, size in sizes.items()}
    shares = {stratum: min(max(int(exact[stratum]), 1), most[stratum]) for stratum in sizes}
    for stratum in sorted(sizes, key=lambda s: int(exact[s]) - exact[s]):
        if sum(shares.values()) < count and shares[stratum] < most[stratum]:
            shares[stratum] += 1
    while sum(shares.values()) > count and max(shares.values()) > 1:
        # The ones granted to small strata are taken back from the largest.
        shares[max(shares, key=lambda s: shares[s])] -= 1
    return shares


def in_order(strata: Sequence[Hashable], *, seed: str) -> list[int]:
    """All positions in an order whose every beginning is random within its strata and holds them in proportion.

    One of each stratum comes first; after that the i-th of n members stands at (i + ½) / n.
    """
    members: dict[Hashable, list[int]] = {}
    for position, stratum in enumerate(strata):
        members.setdefault(stratum, []).append(position)
    places: list[tuple[float, int]] = []
    for number, group in enumerate(members.values()):
        shuffled = random.Random(f"{seed}/{number}").sample(group, len(group))
        places += [((i + 0.5) / len(group) if i else 0.0, position) for i, position in enumerate(shuffled)]
    return [position for _, position in sorted(places)]
