"""A report as one HTML file that opens from disk: styles, script and pictures are in it, and nothing is fetched.

Everything that comes from data is escaped by the template engine, and the page's own policy allows no other script
than ours, so that a name is never more than a name.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any

from fusion_pipeline.compare.pictures import Picture
from fusion_pipeline.compare.report import Report
from fusion_pipeline.compare.sections import Section

_PACKAGE, _FOLDER = "fusion_pipeline.compare", "templates"


def html(title: str, report: Report, parts: Sequence[Section], pictures: Mapping[str, Picture]) -> str:
    """The whole page."""
    style, script = _text("report.css"), _text("report.js")
    page: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            report=report,
            parts=parts,
            pictures=pictures,
            tally=_tally(report),
            style=style,
            script=script,
            # The hash of exactly what stands between the tags.
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )
    return page


def _tally(report: Report) -> dict[str, int]:
    verdicts = [one.verdict for one in report.tested]
    return {name: verdicts.count(name) for name in ("better", "worse", "cannot be told")}


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(_PACKAGE, _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _text(name: str) -> str:
    from importlib.resources import files

    return files(_PACKAGE).joinpath(_FOLDER, name).read_text(encoding="utf-8")
