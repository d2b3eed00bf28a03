"""The contenders: the base as it is, and every adapter on it, put in place and taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.source import Source
from fusion_pipeline.prompting.base import Base
from fusion_pipeline.prompting.linears import attach

BASE, ADAPTER = "base", "adapter.safetensors"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """What is compared: a name for reports, and the adapter's folder and weights (the base: None).

    `source` is a LoRA of another library, opened; an adapter of ours has none.
    """

    name: str
    folder: Path | None = None
    weights: Path | None = None
    source: Source | None = None

    @property
    def format(self) -> str:
        """Of its files."""
        return self.source.format if self.source is not None else "none" if self.folder is None else "native"


def find_contenders(values: Sequence[str], root: Path) -> list[Contender]:
    """The base, then every adapter by the name of its folder; names that are equal get their parents' in front.

    `values` are names below `root`, or paths of our artefacts, PEFT's and MLX's folders. Raises `PipelineError` for
    one that is none of these, and for one named twice.
    """
    found = [_opened(value, root) for value in values]
    folders = [contender.folder.resolve() for contender in found if contender.folder is not None]
    for value, folder in zip(values, folders, strict=True):
        if folders.count(folder) > 1:
            raise PipelineError(f"{value} is named twice", where="adapters")
    pairs = zip(_names(folders), found, strict=True)
    return [Contender(name=BASE), *(replace(contender, name=name) for name, contender in pairs)]


@contextmanager
def running(base: Base, contender: Contender) -> Iterator[None]:
    """The base with the contender's adapter on it, inside the block. No weight of the base is written to.

    Raises `PipelineError` for an adapter of another base, of other shapes, and of a kind that cannot write.
    """
    if contender.folder is None:
        yield
        return
    source = contender.source
    take_off = _native(base, contender.folder) if source is None else _foreign(base, source)
    try:
        yield
    finally:
        take_off()


def _opened(value: str, root: Path) -> Contender:
    """An adapter of ours, of any kind; else whatever LoRA merging can open."""
    path = Path(value).expanduser()
    named = len(path.parts) == 1 and not value.startswith((".", "~"))
    for folder in (root / value, path) if named else (path,):
        if (folder / store.MANIFEST).is_file():
            store.verify(folder, kind="adapter")
            return Contender(name=value, folder=folder, weights=folder / ADAPTER)
    source = open_source(value, root)
    return Contender(name=value, folder=source.folder, weights=source.file, source=source)


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


def _foreign(base: Base, source: Source) -> Callable[[], None]:
    """A LoRA of another library, on the linears it names."""
    updates = {path: source.update(path) for path in source.entries}
    return attach(base.model, updates, str(source.folder))
