"""Names of artefacts: safe as a folder's name on every file system and in a shell.

A name starts with a letter or digit and goes on with letters, digits and `. _ + = -`, 120 characters at most.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from fusion_pipeline.errors import PipelineError

LONGEST = 120
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=-]+")
_HASH = 8


def check_name(name: Any, *, where: str = "name") -> str:
    """The name itself, if it is safe as a folder's name."""
    if not isinstance(name, str) or not _SAFE.fullmatch(name):
        raise PipelineError(
            f"{name!r} cannot be the name of an artefact",
            where=where,
            hint=f"letters, digits and . _ + = - only, for example name={safe_name(str(name))}",
        )
    if len(name) > LONGEST:
        raise PipelineError(
            f"a name of {len(name)} characters is too long", where=where, hint=f"{LONGEST} at most"
        )
    return name


def safe_name(text: str, *, longest: int = LONGEST) -> str:
    """Any text as a safe name; two different texts never become the same name.

    Commas become `+`, brackets and quotes go, every other unsafe run becomes `_`. Text that had to be changed
    or cut ends with eight digits of its sha256.
    """
    name = _UNSAFE.sub("_", re.sub(r"[\[\](){}'\"]", "", text).replace(",", "+")).lstrip("._+=-")
    if name == text and 0 < len(name) <= longest:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH]
    kept = name[: longest - _HASH - 1]
    return f"{kept}-{digest}" if kept else digest
