"""Shows that AdapterHub's `adapters` runs what this pipeline exports, with the same logits.

Two interpreters, since that library needs transformers 4 (scripts/make_golden.py says how to install it):

    .venv/bin/python scripts/check_adapterhub_export.py write FOLDER      # the project's: export every recorded model
    PEER/bin/python scripts/check_adapterhub_export.py check FOLDER       # the library's: load, run, compare

Each model is loaded from the recordings in tests/golden, exported, and run in float64 on both sides.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1]
RUNS = ("single", "fuse")


def write(folder: Path) -> None:
    """Exports every recorded model, with the logits it gives here."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import golden

    from fusion_pipeline.interop.adapterhub.exchange import write as export

    for family in golden.FAMILIES:
        for case in golden.cases(family):
            for run in RUNS:
                place = folder / f"{family}.{case}.{run}"
                model = _recorded(golden.unpack(family, case, place / "recorded"), run)
                inputs = {
                    k: v.double() if v.is_floating_point() else v for k, v in golden.inputs(family).items()
                }
                export(model, place / "exported")
                with torch.no_grad():
                    logits = model.double()(**inputs).logits
                save_file({"logits": logits.contiguous(), **inputs}, place / "ours.safetensors")


def _recorded(folder: Path, run: str) -> Any:
    from fusion_pipeline import AdaptedModel
    from fusion_pipeline.backbone import BackboneSpec

    base = BackboneSpec(kind="recorded", path=str(folder / "base"), attention="eager")
    if run == "single":
        return AdaptedModel.from_adapterhub(base, [folder / "a"], head=folder / "head")
    parts = [folder / name for name in "abc"]
    return AdaptedModel.from_adapterhub(base, parts, fusion=folder / "fusion", head=folder / "head")


def check(folder: Path) -> None:
    """Loads every export into the library and compares logits."""
    import adapters
    import transformers

    transformers.logging.set_verbosity_error()

    gaps = {}
    for place in sorted(path.parent for path in folder.glob("*/ours.safetensors")):
        model = adapters.AutoAdapterModel.from_pretrained(
            place / "recorded/base", attn_implementation="eager"
        )
        _activate(model, place / "exported")
        ours = load_file(place / "ours.safetensors")
        logits = ours.pop("logits")
        with torch.no_grad():
            theirs = model.double().eval()(**ours).logits
        gaps[place.name] = float((theirs - logits).abs().max())
        print(f"{place.name:45} {gaps[place.name]:.1e}")
    print(f"{len(gaps)} exports, largest difference {max(gaps.values()):.1e}")


def _activate(model: Any, exported: Path) -> None:
    if (exported / "adapter_setup.json").is_file():
        model.load_adapter_setup(str(exported), set_active=True)
        return
    name = model.load_adapter(str(exported), set_active=True)
    model.active_head = (
        next(head for head in model.heads if head != "default") if len(model.heads) > 1 else name
    )


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
