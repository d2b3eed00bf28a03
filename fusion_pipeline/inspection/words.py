"""What the figures mean, said once for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EFFECTS = (
    "Weight is not importance: beside each adapter's mean weight stands what happens to the metric when it is left "
    "out, and when it is alone, with the trained heads as they are. The interval is a paired bootstrap over these "
    "examples ({resamples} draws); 'worse / better' counts examples, with the sign test's p (McNemar's exact test for "
    "classes). It speaks of these examples, not of other seeds, and p is not corrected for the {count} comparisons."
)
NOT_ONE = (
    "This fusion's weights need not sum to 1: leaving an adapter out takes its part away and gives it to no other. "
    "Entropies are of the shares |w| / Σ|w|."
)
ONE = "Its weights sum to 1: leaving an adapter out shares its weight among the others."
ALIKE = (
    "All examples listen to the adapters alike: no example's mean weight differs by 0.00001 from another's."
)
REDUNDANCY = (
    "Debiased linear CKA of the adapters' outputs on {tokens:,} tokens: 1 means the same output up to rotation and "
    "scale, 0 unrelated ones. Two adapters that are alike can stand in for each other, so that leaving one of them out "
    "costs little however much it is listened to. 'Size' is the length of an adapter's output in units of the mean."
)
ENTROPY = "1: the site listens to all adapters alike; 0: to one alone."
DECIDER = (
    "The composition of this target is known: which source task settles each example. Where the fusion has found it, a "
    "row's weights and losses are largest in the column of its own name."
)


def summary(found: Mapping[str, Any], task: str) -> str:
    """Two sentences on one target: who is listened to most, and who is missed most."""
    told = found["targets"][task]
    means, effects = told["mean"], told["effects"]
    first = max(means, key=lambda name: abs(means[name]))
    said = (
        f"On {told['examples']:,} {found['split']} examples it listens most to {first} ({means[first]:.2f})"
    )
    if effects is None or "without" not in effects:
        return said + "."
    losses = {name: one for name, one in effects["without"].items() if name in means}
    missed = min(losses, key=lambda name: losses[name]["difference"])
    one = losses[missed]
    if one["high"] < 0:
        return f"{said}, and misses {missed} most ({one['difference']:+.3f} {told['metric']} without it)."
    return f"{said}; no adapter is missed beyond noise when it alone is left out."
