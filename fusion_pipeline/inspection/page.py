"""The findings as one HTML page that needs nothing else: no network, no other file.

Text from data goes through `html.escape`, or as JSON into an element that no browser runs; the page's script writes it
as text, never as markup, and its Content-Security-Policy forbids every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from fusion_pipeline.inspection import words
from fusion_pipeline.inspection.facets import DECIDER
from fusion_pipeline.inspection.palette import colour, style
from fusion_pipeline.inspection.rows import Rows, cka_rows, effect_rows, facet_effect_rows, facet_rows

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
<script type="application/json" id="data">{data}</script>
<script>
{script}
</script>
</body>
</html>
"""
_TOKENS = """<section id="tokens">
<h2>Token by token</h2>
<p>Each token has the colour of the adapter it listens to most, the stronger the larger that adapter's share of the
weights. Point at a token, or move to it with the tab key, for all weights.</p>
<p><label>Site <select id="site"></select></label> <span id="colouring"></span></p>
<p id="legend"></p>
<div id="sentences"></div>
<div id="tip" hidden></div>
</section>"""


def page(found: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The page; `pictures` are PNGs in base64 by file name."""
    sections = [f"<p>{escape(_origin(found))}</p>"]
    sections += [_target(found, task, pictures) for task in found["targets"]]
    if found["sentences"]:
        sections.insert(1, _TOKENS)
    sections.append(_training(pictures))
    sections.append(_redundancy(found, pictures))
    sections.append(f"<p>Made with:</p><pre>{escape(found['command'])}</pre>")
    here = files("fusion_pipeline.inspection")
    return _PAGE.format(
        policy=POLICY,
        title=escape(f"What the fusion {found['run']} listens to"),
        css=(here / "page.css").read_text(encoding="utf-8"),
        body="\n".join(section for section in sections if section),
        data=script_json(view(found)),
        script=(here / "page.js").read_text(encoding="utf-8"),
    )


def view(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the token view shows: adapters with their colours, sites, sentences."""
    adapters = found["adapters"]
    return {
        "adapters": [
            {"name": name, "colour": colour(i), "style": style(i)} for i, name in enumerate(adapters)
        ],
        "groups": found["groups"],
        "sentences": found["sentences"],
    }


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _origin(found: Mapping[str, Any]) -> str:
    sums = words.ONE if found["sums_to_one"] else words.NOT_ONE
    data = "; ".join(dict.fromkeys(f"{entry['task']} from {entry['source']}" for entry in found["data"]))
    return (
        f"A {found['fusion']} fusion of {', '.join(found['adapters'])}, on {data}, split {found['split']}; "
        f"backbone {found['backbone']['name']}. {sums}"
    )


def _target(found: Mapping[str, Any], task: str, pictures: Mapping[str, str]) -> str:
    told, adapters = found["targets"][task], found["adapters"]
    parts = [f"<h2>{escape(task)}</h2>", f"<p><strong>{escape(words.summary(found, task))}</strong></p>"]
    parts.append(table(effect_rows(found, task)))
    if told["effects"]:
        said = words.EFFECTS.format(resamples=found["resamples"], count=2 * len(adapters))
        parts.append(f"<p>{escape(said)}</p>")
    single = len(found["targets"]) == 1
    parts += [picture(name, pictures) for name in ("effects.png", "weights.png", "entropy.png") if single]
    for facet in told["facets"]:
        parts.append(f"<h3>By {escape(facet)}</h3>")
        parts.append(f"<p>{escape(words.DECIDER)}</p>" if facet == DECIDER else "")
        parts.append(table(facet_rows(told, facet, adapters)))
        parts.append(table(facet_effect_rows(told, facet, adapters)))
        parts.append(picture(f"by_{facet}-{task}.png".replace(" ", "_"), pictures))
    parts += ["<h3>Who listens most</h3>", _most(told)]
    if not single and task == list(found["targets"])[-1]:
        parts.append("<h2>All targets</h2>")
        parts += [picture(name, pictures) for name in ("effects.png", "weights.png", "entropy.png")]
    return f"<section>{''.join(parts)}</section>"


def _most(told: Mapping[str, Any]) -> str:
    if told["most"] is None:
        return f"<p>{escape(words.ALIKE)}</p>"
    parts = []
    for adapter, examples in told["most"].items():
        rows: Rows = [("weight", "text", "label", "answer")]
        rows += [
            (f"{one['weight']:.3f}", " ‖ ".join(one["inputs"]), one["label"], one["said"]) for one in examples
        ]
        parts.append(f"<h4>{escape(adapter)}</h4>{table(rows)}")
    return "".join(parts)


def _training(pictures: Mapping[str, str]) -> str:
    drawn = [picture(name, pictures) for name in ("training.png", "training_by_site.png")]
    shown = "".join(drawn) or "<p>No weights were recorded while this fusion was trained.</p>"
    return f"<section><h2>Over training</h2>{shown}</section>"


def _redundancy(found: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    if not found["redundancy"]:
        return ""
    text = words.REDUNDANCY.format(tokens=found["redundancy"]["tokens"])
    rows = table(cka_rows(found["redundancy"], found["adapters"]))
    shown = picture("redundancy.png", pictures)
    return f"<section><h2>How alike the adapters are</h2><p>{escape(text)}</p>{rows}{shown}</section>"


def picture(name: str, pictures: Mapping[str, str]) -> str:
    """A picture inside the page; nothing where there is none of that name."""
    if name not in pictures:
        return ""
    return f'<img alt="{escape(name.removesuffix(".png"))}" src="data:image/png;base64,{pictures[name]}">'


def table(rows: Rows) -> str:
    """An HTML table; empty without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(value)}</th>" for value in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(v)}</td>' for v in row)}</tr>" for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
