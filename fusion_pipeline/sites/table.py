"""Site tables: what is known of a backbone family, as data (one YAML file per family)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import config_dirs
from fusion_pipeline.sites.taps import Tap

TABLES = Path(__file__).parent / "tables"
OWN = "sites"


@dataclass(frozen=True, kw_only=True)
class SiteRow:
    """One site of a family.

    Exactly one of three forms: `rerun` (a norm that runs again over its input plus the delta),
    `at` (read and add at one tap), or `read` with `write`. `sublayer` is h, the sub-layer's output
    before the residual sum, where the adapter reads something else; some fusion variants ask for it.
    `linear`: the site is one linear of the layer, read before and written after, with widths of its own.
    """

    name: str
    rerun: Tap | None = None
    at: Tap | None = None
    read: Tap | None = None
    write: Tap | None = None
    sublayer: Tap | None = None
    linear: bool = False


@dataclass(frozen=True, kw_only=True)
class SiteTable:
    """What the pipeline knows of one backbone family.

    `layers` is the path of the stack of layers; a `*` in it stands for every number (ALBERT's groups).
    `shared` says that one physical layer runs several times in a forward. `adapterhub` is where the
    `adapters` library keeps the same weights.
    """

    family: str
    model_types: tuple[str, ...]
    layers: str
    pooling: str
    sites: dict[str, SiteRow]
    placements: dict[str, tuple[str, ...]]
    shared: bool = False
    adapterhub: dict[str, Any] | None = None

    def layer_list(self, backbone: nn.Module) -> list[nn.Module]:
        """The layers of a backbone of this family, each physical layer once."""
        return [layer for _, layer in self._numbered(backbone)]

    def layer_indices(self, backbone: nn.Module) -> list[tuple[int, ...]]:
        """The numbers in each layer's path: (3,) for `layer.3`, (1, 0) for layer 0 of group 1."""
        return [index for index, _ in self._numbered(backbone)]

    def layer_paths(self, backbone: nn.Module) -> list[str]:
        """The path of each layer below the backbone: `encoder.layer.3`."""
        stem, _, rest = self.layers.partition(".*.")
        return [
            f"{stem}.{index[0]}.{rest}.{index[1]}" if rest else f"{stem}.{index[0]}"
            for index in self.layer_indices(backbone)
        ]

    def _numbered(self, backbone: nn.Module) -> list[tuple[tuple[int, ...], nn.Module]]:
        stem, _, rest = self.layers.partition(".*.")
        outer = list(backbone.get_submodule(stem).children())
        if not rest:
            return [((i,), layer) for i, layer in enumerate(outer)]
        inner = [list(group.get_submodule(rest).children()) for group in outer]
        return [((g, i), layer) for g, layers in enumerate(inner) for i, layer in enumerate(layers)]

    def sites_of(self, placement: str) -> tuple[str, ...]:
        """The sites a placement uses; refuses a placement the family has not."""
        if placement not in self.placements:
            raise PipelineError(
                f"{self.family} has no placement '{placement}'",
                where="adapter.placement",
                hint=f"one of: {', '.join(self.placements)}",
            )
        return self.placements[placement]

    @property
    def linears(self) -> tuple[str, ...]:
        """The sites that are one linear of the layer each: what LoRA can target."""
        return tuple(name for name, row in self.sites.items() if row.linear)


def all_tables() -> tuple[SiteTable, ...]:
    """Every table in the package, then those in the folder `sites` of a person's own `--config-dir`."""
    own = [folder / OWN for folder in config_dirs()[1:]]
    return tuple(_read(path) for folder in (TABLES, *own) for path in sorted(folder.glob("*.yaml")))


def load_table(model_type: str) -> SiteTable:
    """The table for a Hugging Face `model_type`; says how to write one where there is none."""
    for table in all_tables():
        if model_type in table.model_types:
            return table
    known = sorted(name for table in all_tables() for name in table.model_types)
    raise PipelineError(
        f"there is no site table for backbones of type '{model_type}'",
        where="backbone",
        hint=f"take one of: {', '.join(known)}; or write {OWN}/{model_type}.yaml in a folder that --config-dir names "
        "(docs/adding-things.md shows how; it is about ten lines)",
    )


@cache
def _read(path: Path) -> SiteTable:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    return SiteTable(
        family=path.stem,
        model_types=tuple(raw["model_types"]),
        layers=raw["layers"],
        pooling=raw["pooling"],
        sites={name: _row(name, row, path.name) for name, row in raw["sites"].items()}
        | _linears(raw, path.name),
        placements={name: tuple(sites) for name, sites in raw["placements"].items()},
        shared=raw.get("shared", False),
        adapterhub=raw.get("adapterhub"),
    )


def _row(name: str, raw: dict[str, Any], where: str) -> SiteRow:
    taps: dict[str, Any] = {key: Tap.parse(text, where) for key, text in raw.items()}
    row = SiteRow(name=name, **taps)
    forms = [row.rerun is not None, row.at is not None, row.read is not None and row.write is not None]
    if sum(forms) != 1:
        raise PipelineError(f"site '{name}' must have one of: rerun, at, or read with write", where=where)
    return row


def _linears(raw: dict[str, Any], where: str) -> dict[str, SiteRow]:
    """A linear's delta is read where it reads and written where it writes: W x + Δ(x)."""
    return {
        name: SiteRow(
            name=name, read=Tap.parse(f"{path}:input0", where), write=Tap.parse(path, where), linear=True
        )
        for name, path in raw.get("linears", {}).items()
    }
