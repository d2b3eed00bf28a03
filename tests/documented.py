"""The snippets of docs/adding-things.md as a package and a folder of configs of somebody's own."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adding-things.md"
PACKAGE = "outside"
# What a snippet's first lines say of where it belongs.
_PLACE = re.compile(
    r"^# (?:fusion_pipeline|configs|mine)/(\S+?),?(?: outside of this repository)?$", re.MULTILINE
)
_OURS = r"fusion_pipeline\.(?:\w+\.)*(scale|similarity|ordinal|size|bias_only)\."


def install(folder):
    """Writes the modules as package `outside` and the yaml into `mine/`; returns what was written."""
    written = set()
    (folder / PACKAGE).mkdir()
    (folder / PACKAGE / "__init__.py").write_text("")
    for kind, text in re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        found = _PLACE.search(text)
        if found is None:
            continue
        path = Path(found[1])
        if kind == "python":
            target = folder / PACKAGE / path.name
        elif "tables" in path.parts:
            # A family that is not there yet, with the same layout.
            target, text = folder / "mine" / "sites" / "ernie.yaml", text.replace("[bert]", "[ernie]")
        else:
            target = folder / "mine" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(re.sub(_OURS, rf"{PACKAGE}.\1.", text))
        written.add(str(target.relative_to(folder)))
    return written
