"""Names of tasks: they become folder names, so they are kept plain."""

from __future__ import annotations

import re

from fusion_pipeline.errors import PipelineError

_LONGEST = 100  # leaves room for what a run appends to it
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")


def is_safe(name: str) -> bool:
    """Whether a word can be a task's name as it stands."""
    return SAFE_NAME.fullmatch(name) is not None and len(name) <= _LONGEST


def safe_name(text: str) -> str:
    """The nearest safe name: 'my reviews (2024)' becomes 'my_reviews_2024'."""
    name = re.sub(r"[^A-Za-z0-9_+-]+", "_", text).strip("_+-")[:_LONGEST]
    return name or "task"


def check_name(name: object, where: str) -> str:
    """The name itself, or an error: a name with a path separator would write outside its folder."""
    if isinstance(name, str) and is_safe(name):
        return name
    raise PipelineError(
        f"{name!r} cannot be a task's name: letters, digits, '_', '+' and '-' only, a letter or digit first",
        where=where,
        hint=f"name it '{safe_name(str(name))}'",
    )
