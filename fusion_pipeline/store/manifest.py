"""`manifest.json`: what an artefact is, how it was made, and the sha256 of each of its files."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_pipeline import __version__
from fusion_pipeline.errors import PipelineError

FORMAT = 1
KINDS = ("adapter", "fusion", "head", "model")
MANIFEST = "manifest.json"
_PRODUCT = "fusion_pipeline"
_LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "evaluate", "safetensors", "numpy")


def versions() -> dict[str, str]:
    """What this artefact is made with; read from package metadata, so nothing heavy is imported."""
    found = {"python": platform.python_version(), _PRODUCT: __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an artefact is.

    Args:
        kind: "adapter", "fusion", "head", or "model" (a fine-tuned backbone).
        name: The artefact's name, which is its folder's name.
        config: The resolved config: names and values, never something to import.
        seed: The seed of the run.
        backbone: The backbone, with its `fingerprint`.
        data: The data sets, each with source and fingerprint.
        parents: The artefacts this one is made of.
        notes: What a person should know.
        versions: Of Python, this package and the libraries.
        files: sha256 of every file, by its path inside the folder; `publish` fills it in.
        format: The version of this layout.
    """

    kind: str
    name: str
    config: dict[str, Any]
    seed: int
    backbone: dict[str, Any]
    data: list[dict[str, Any]] = field(default_factory=list)
    parents: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=versions)
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PipelineError(
                f"'{self.kind}' is not a kind of artefact", where="kind", hint=" or ".join(KINDS)
            )
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
                raise PipelineError(f"the manifest lists a file outside its folder: {name!r}", where="files")

    def write(self, folder: Path) -> None:
        """Writes `manifest.json` into the folder."""
        content = {"product": _PRODUCT, **asdict(self)}
        (folder / MANIFEST).write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, folder: str | Path, *, kind: str | None = None) -> Manifest:
        """The manifest of a folder; anything but a manifest of ours (of that kind) is a PipelineError."""
        path = Path(folder) / MANIFEST
        manifest = _checked(_parsed(path), path)
        if kind is not None and manifest.kind != kind:
            what = f"this is {_article(manifest.kind)}, and {_article(kind)} is needed here"
            raise PipelineError(what, where=str(folder))
        return manifest


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _parsed(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise PipelineError("there is no such artefact", where=str(path.parent))
    if not path.is_file():
        raise PipelineError(f"this folder is no artefact: it has no {MANIFEST}", where=str(path.parent))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        what = "the manifest is empty" if path.stat().st_size == 0 else f"the manifest is not JSON: {error}"
        raise PipelineError(what, where=str(path), hint="make the artefact again") from error
    except OSError as error:
        raise PipelineError(f"the manifest cannot be read: {error.strerror}", where=str(path)) from error
    if not isinstance(content, dict) or content.pop("product", None) != _PRODUCT:
        raise PipelineError("this manifest was not written by fusion_pipeline", where=str(path))
    return content


def _checked(content: dict[str, Any], path: Path) -> Manifest:
    made_by = content.get("format")
    if not isinstance(made_by, int) or made_by < 1:
        raise PipelineError("the manifest does not say its format", where=str(path))
    if made_by > FORMAT:
        what = f"the manifest has format {made_by}, this version reads up to {FORMAT}"
        raise PipelineError(what, where=str(path), hint="install a newer fusion-pipeline")
    kinds: dict[str, type] = {"str": str, "int": int, "dict": dict, "list": list}
    for one in fields(Manifest):
        expected = kinds[str(one.type).partition("[")[0]]
        if one.name not in content or not isinstance(content[one.name], expected):
            raise PipelineError(
                f"the manifest's '{one.name}' is missing or not a {expected.__name__}", where=str(path)
            )
    _check_items(content, path)
    try:
        return _from_known(content)
    except PipelineError as error:
        raise PipelineError(error.what, where=str(path), hint=error.hint) from error


def _check_items(content: dict[str, Any], path: Path) -> None:
    wanted = {"data": dict, "parents": dict, "notes": str}
    wrong = [key for key, kind in wanted.items() if not all(isinstance(item, kind) for item in content[key])]
    wrong += [
        key for key in ("files", "versions") if not all(isinstance(v, str) for v in content[key].values())
    ]
    if wrong:
        raise PipelineError(f"the manifest's '{wrong[0]}' holds something unexpected", where=str(path))


def _from_known(content: dict[str, Any]) -> Manifest:
    """The manifest of checked content; keys of a later minor version are ignored."""
    known = {one.name for one in fields(Manifest)}
    return Manifest(**{key: value for key, value in content.items() if key in known})
