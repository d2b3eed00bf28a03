"""The folder of an inspection: JSON, pictures, Markdown and one HTML page, whole or not at all."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_pipeline.inspection.markdown import markdown
from fusion_pipeline.inspection.page import page
from fusion_pipeline.inspection.pictures import draw_all
from fusion_pipeline.store.publish import replacing

JSON = "inspect.json"


def write_report(found: Mapping[str, Any], folder: Path, *, pictures: bool = True) -> None:
    """Writes the folder aside and puts it in place of a former inspection; anything else there is refused."""
    drawn = {f"{name}.png": _png(figure) for name, figure in draw_all(found).items()} if pictures else {}
    with replacing(folder, marker=JSON) as aside:
        content = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
        (aside / JSON).write_text(content + "\n", encoding="utf-8")
        for name, data in drawn.items():
            (aside / name).write_bytes(data)
        (aside / "inspect.md").write_text(markdown(found, list(drawn)), encoding="utf-8")
        inline = {name: base64.b64encode(data).decode("ascii") for name, data in drawn.items()}
        (aside / "inspect.html").write_text(page(found, inline), encoding="utf-8")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
