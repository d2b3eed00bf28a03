"""What AdapterHub's `adapters` 1.3.0 saved and computed, recorded by scripts/make_golden.py.

`<family>.safetensors` holds, in float32 where the library saves files and in float64 where it computed:

    base/<key>                    the stock classification model
    inputs/<name>                 the batch
    <case>/<part>/<key>           the files of the parts a, b, c, fusion and head
    <case>/{single,fuse}/<name>   adapter a alone, or the fusion of all: logits, last_hidden_state,
                                  hidden_states.<i> where it differs from the last one,
                                  weights/<layer or pass>/<attention|output> (B, T, N)
    bert's seq_bn/grads/<key>, seq_bn/penalty

`<family>.json` holds the JSON files of the same parts, and `same`: parts whose tensors an earlier case holds.
`bert-flex` is a model with named heads (`setup` its only case), on the backbone and the batch of `bert`; its
heads are the parts `head.<name>`, its outputs `single`, `fuse.target` and `fuse.tags`.
`trainer` is a training run of that library from the weights of bert's seq_bn: its settings, `data/<name>`,
`losses` before each step, `final/<key>` of fusion and head after the last one.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).parent / "golden" / "adapterhub"
OTHERS = ("bert-flex", "trainer")
FAMILIES = tuple(sorted(path.stem for path in FOLDER.glob("*.json") if path.stem not in OTHERS))
# Of every kind of part: the config, the safetensors file and the pickled one.
FILES = {
    "adapter": ("adapter_config.json", "adapter.safetensors", "pytorch_adapter.bin"),
    "fusion": (
        "adapter_fusion_config.json",
        "model_adapter_fusion.safetensors",
        "pytorch_model_adapter_fusion.bin",
    ),
    "head": ("head_config.json", "model_head.safetensors", "pytorch_model_head.bin"),
}


@cache
def _recorded(family: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return json.loads((FOLDER / f"{family}.json").read_text()), load_file(FOLDER / f"{family}.safetensors")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value.clone() for key, value in tensors.items() if key.startswith(prefix)
    }


def cases(family: str) -> list[str]:
    """The names of a family's cases."""
    return list(_recorded(family)[0]["cases"])


def inputs(family: str) -> dict[str, Tensor]:
    """The batch, as keyword arguments of the model."""
    return _under(_recorded(family.removesuffix("-flex"))[1], "inputs/")


def expected(family: str, case: str) -> dict[str, Tensor]:
    """What the library computed, e.g. `fuse/logits`, in float64."""
    held = _under(_recorded(family)[1], f"{case}/")
    return {key: value for key, value in held.items() if value.dtype == torch.float64}


def unpack(family: str, case: str, folder: Path, *, pickled: bool = False) -> Path:
    """Writes the case's files as the library does: base, a, b, c, fusion, head; returns `folder`.

    A set-up lies in `setup/`: adapter_setup.json, an adapter together with the head of its name, other heads
    on their own, and the fusion in `a,b,c/`.
    """
    configs, tensors = _recorded(family)
    base, weights = _recorded(family.removesuffix("-flex"))
    _write_json(folder / "base" / "config.json", base["base_config"])
    save_file(_under(weights, "base/"), folder / "base" / "model.safetensors", metadata={"format": "pt"})
    for part, config in configs["cases"][case].items():
        if part == "adapter_setup":
            _write_json(folder / "setup" / "adapter_setup.json", config)
            continue
        prefix = f"{case}/{part}"
        held = _under(tensors, configs["same"].get(prefix, prefix) + "/")
        _write_part(
            folder / (_setup_path(part) if case == "setup" else part), part, config, held, pickled=pickled
        )
    return folder


def training() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The training run: TrainingArguments, and its tensors by the names above."""
    configs, tensors = _recorded("trainer")
    return configs["trainer"], {key: value.clone() for key, value in tensors.items()}


def unpack_training(folder: Path) -> Path:
    """Writes the files that the training run began with: bert's seq_bn on a backbone without dropout."""
    config = unpack("bert", "seq_bn", folder) / "base" / "config.json"
    _write_json(config, json.loads(config.read_text()) | _recorded("trainer")[0]["base_config"])
    return folder


def _setup_path(part: str) -> str:
    return "setup/" + ("a,b,c" if part == "fusion" else part.removeprefix("head."))


def _write_part(
    folder: Path, part: str, config: dict[str, Any], tensors: dict[str, Tensor], *, pickled: bool
) -> None:
    name, safe, pickle = FILES[part.split(".")[0] if part.startswith(("fusion", "head")) else "adapter"]
    _write_json(folder / name, config)
    if pickled:
        torch.save(tensors, folder / pickle)
    else:
        save_file(tensors, folder / safe)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True))
