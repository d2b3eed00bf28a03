"""The contenders: the base as it is, and every adapter on it, put in place and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.prompting.base import Base
from fusion_pipeline.prompting.linears import attach
from fusion_pipeline.prompting.lora_files import is_lora, read_lora

BASE = "base"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What is compared: a name for reports, where it lies (the base: None), and the format of its files."""

    name: str
    folder: Path | None = None
    format: str = "none"


def find_contenders(values: Sequence[str], root: Path) -> list[Contender]:
    """The base, then every adapter by the name of its folder; names that are equal get their parents' in front.

    `values` are names below `root`, or paths of our artefacts, PEFT's and MLX's folders. Raises `PipelineError` for
    one that is none of these, and for one named twice.
    """
    folders = [_find(value, root) for value in values]
    resolved = [folder.resolve() for folder in folders]
    for value, folder in zip(values, resolved, strict=True):
        if resolved.count(folder) > 1:
            raise PipelineError(f"{value} is named twice", where="adapters")
    names = _names(resolved)
    pairs = zip(names, folders, strict=True)
    return [Contender(name=BASE), *(Contender(name=n, folder=f, format=_format(f)) for n, f in pairs)]


@contextmanager
def running(base: Base, contender: Contender) -> Iterator[None]:
    """The base with the contender's adapter on it, inside the block. No weight of the base is written to.

    Raises `PipelineError` for an adapter of another base, of other shapes, and of a kind that cannot write.
    """
    if contender.folder is None:
        yield
        return
    put = _native if contender.format == "native" else _foreign
    take_off = put(base, contender.folder)
    try:
        yield
    finally:
        take_off()


def _find(value: str, root: Path) -> Path:
    path = Path(value).expanduser()
    named = len(path.parts) == 1 and not value.startswith((".", "~"))
    for folder in (root / value, path) if named else (path,):
        if (folder / store.MANIFEST).is_file() or is_lora(folder):
            return folder
    if path.is_dir() and not named:
        raise PipelineError("this folder holds no adapter of ours, of PEFT or of MLX", where=str(path))
    known = [p.name for p in sorted(root.glob("[!.]*")) if (p / store.MANIFEST).is_file() or is_lora(p)]
    hint = did_you_mean(value, known) if known else "a path, or a name below <output_root>/adapters"
    raise PipelineError(f"there is no adapter '{value}'", where="adapters", hint=hint)


def _format(folder: Path) -> str:
    return "native" if (folder / store.MANIFEST).is_file() else "lora"


def _names(folders: Sequence[Path]) -> list[str]:
    """Each folder's name, with as many parents as it takes to tell them apart."""
    for depth in range(1, max((len(folder.parts) for folder in folders), default=1) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len({*names, BASE}) == len(names) + 1:
            return names
    return [str(folder) for folder in folders]


def _native(base: Base, folder: Path) -> Callable[[], None]:
    """An adapter of ours, on the sites of its family's table."""
    from fusion_pipeline.artefacts import load_adapter_into
    from fusion_pipeline.backbone import Backbone, fingerprint
    from fusion_pipeline.model import AdaptedModel

    body = base.model.base_model
    info = Backbone(
        spec=base.spec,
        name=base.name,
        model=body,
        tokenizer=base.tokenizer,
        pooling="last",
        fingerprint=fingerprint(body),
    )
    model = AdaptedModel(info)
    name = load_adapter_into(model, folder, None, head=False)
    _check_causal(model.adapters[name], folder)
    model.requires_grad_(False).eval()
    model.set_active(name)
    return lambda: model.set_active(None)


def _check_causal(part: object, folder: Path) -> None:
    """Token by token is all that generating allows."""
    from fusion_pipeline.components import PerSite
    from fusion_pipeline.routing import is_prompt

    assert isinstance(part, PerSite)
    if is_prompt(part) or any(getattr(module, "wants_mask", False) for module in part.modules()):
        raise PipelineError(
            "this kind of adapter reads or changes the whole text at once, and a text is written token by token",
            where=str(folder),
            hint="lora and the bottleneck kinds can write",
        )


def _foreign(base: Base, folder: Path) -> Callable[[], None]:
    """A LoRA of another library, on the linears it names."""
    return attach(base.model, read_lora(folder).pairs, str(folder))
