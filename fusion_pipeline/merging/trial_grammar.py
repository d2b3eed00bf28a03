"""What a trial says: which adapters, by which method, with which shares.

    trial  = [which ":"] how
    which  = number {"+" number}               adapters by their place in adapters=, from 1
    how    = shares | words | method ["(" option {";" option} ")"] ["@" shares]
    shares = number "/" number {"/" number}    50/50, 70/30, 2/1/1
    words  = "two-way" | "three-way" | ...     equal shares of so many adapters
    option = key "=" value                     of the method: density=0.3

`70/30` and `three-way` take the method that `method=` chose, and without `which` the first adapters, as many as
they say; a method without shares takes all of them, equally.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry import options

GROUP = "merge"
WORDS = {f"{word}-way": n for n, word in enumerate("two three four five six seven eight".split(), start=2)}
_TRIAL = re.compile(r"^(?:(?P<which>\d+(?:\+\d+)*):)?(?P<how>.+)$")
_METHOD = re.compile(r"^(?P<name>[A-Za-z_][\w-]*)(?:\((?P<options>[^()]*)\))?(?:@(?P<shares>.+))?$")
_NUMBER = r"-?\d+(?:\.\d+)?"
_SHARES = re.compile(rf"^{_NUMBER}(?:/{_NUMBER})+$")
_EXAMPLES = "50/50, 70/30, three-way, slerp, ties(density=0.3), 1+3:linear@2/1"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial, read: places of its adapters (from 0), its method (None: the run's) and its weights (None: equal)."""

    text: str
    which: tuple[int, ...]
    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None


def read_trials(values: Sequence[str], count: int) -> list[Trial]:
    """Every trial over `count` adapters; refuses an empty list, a trial given twice, and what the grammar has not."""
    if not values:
        raise PipelineError("the list of trials is empty", where="trials", hint=f"trials=[{_EXAMPLES}]")
    twice = sorted({value for value in values if list(values).count(value) > 1})
    if twice:
        raise PipelineError(f"the trial {twice[0]} is given twice", where="trials")
    return [read_trial(value, count) for value in values]


def read_trial(text: str, count: int) -> Trial:
    """One trial; raises `PipelineError` with the nearest word where it is none."""
    match = _TRIAL.match(text)
    assert match is not None
    how, which = match["how"], _which(match["which"], text, count)
    if _SHARES.match(how):
        shares = _shares(how)
        return Trial(text=text, which=_chosen(which, len(shares), text, count), weights=shares)
    if how in WORDS:
        return Trial(text=text, which=_chosen(which, WORDS[how], text, count))
    method = _METHOD.match(how)
    if method is None or method["name"] not in options(GROUP):
        word = how if method is None else method["name"]
        hint = did_you_mean(word, [*WORDS, *options(GROUP)])
        raise PipelineError(f"'{text}' is no trial", where="trials", hint=f"{hint}; such as {_EXAMPLES}")
    weights = None if method["shares"] is None else _checked_shares(method["shares"], text)
    size = len(which) if which is not None else count if weights is None else len(weights)
    return Trial(
        text=text,
        which=_chosen(which, len(weights) if weights is not None else size, text, count),
        method=method["name"],
        options=_options(method["options"], text),
        weights=weights,
    )


def _which(text: str | None, trial: str, count: int) -> tuple[int, ...] | None:
    if text is None:
        return None
    places = tuple(int(number) - 1 for number in text.split("+"))
    if not all(0 <= place < count for place in places) or len(set(places)) < len(places):
        raise PipelineError(
            f"'{text}' in '{trial}' does not name adapters",
            where="trials",
            hint=f"1 to {count}, each once: 1+2",
        )
    return places


def _chosen(which: tuple[int, ...] | None, wanted: int, trial: str, count: int) -> tuple[int, ...]:
    have = count if which is None else len(which)
    if have < wanted or (which is not None and have != wanted):
        raise PipelineError(f"'{trial}' is for {wanted} adapters, and there are {have}", where="trials")
    return which if which is not None else tuple(range(wanted))


def _checked_shares(text: str, trial: str) -> tuple[float, ...]:
    if not _SHARES.match(text):
        raise PipelineError(
            f"'{text}' in '{trial}' are no shares", where="trials", hint="numbers: 70/30, 2/1/1"
        )
    return _shares(text)


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split("/"))


def _options(text: str | None, trial: str) -> dict[str, Any]:
    found = {}
    for part in (text or "").split(";"):
        key, equals, value = part.strip().partition("=")
        if not part.strip():
            continue
        if not equals:
            raise PipelineError(
                f"'{part}' in '{trial}' is no option", where="trials", hint="key=value: ties(density=0.3)"
            )
        found[key.strip()] = yaml.safe_load(value)
    return found
