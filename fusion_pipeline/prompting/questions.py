"""The prompts of a comparison: a yaml of one's own, or an installed one by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.registry import config_file, options

GROUP = "prompts"
_KEYS, _ENTRY_KEYS = ("prompts", "reference"), ("name", "prompt")
_SHAPE = "a list of texts, or of {name: ..., prompt: ...}; or {prompts: that list, reference: a text}"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt and what reports call it."""

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class PromptSet:
    """The prompts in order, and the reference text for perplexity where there is one."""

    source: str
    prompts: tuple[Prompt, ...]
    reference: str | None = None


def read_prompts(value: str) -> PromptSet:
    """The prompts of an installed name (`general`) or of a yaml file.

    Raises `PipelineError` for a file that is not there or no yaml, for anything but a list of prompts, for an empty
    list, an empty prompt and a name used twice.
    """
    path = _file(value)
    content = _parsed(path)
    if isinstance(content, Mapping):
        _check_keys(content, _KEYS, str(path))
        listed, reference = content.get("prompts"), content.get("reference")
    else:
        listed, reference = content, None
    if not isinstance(listed, list):
        raise PipelineError("this file holds no list of prompts", where=str(path), hint=_SHAPE)
    if not listed:
        raise PipelineError("the list of prompts is empty", where=str(path), hint=_SHAPE)
    if reference is not None and (not isinstance(reference, str) or not reference.strip()):
        raise PipelineError("the reference is no text", where=f"{path}: reference")
    prompts = tuple(_prompt(entry, number, str(path)) for number, entry in enumerate(listed, start=1))
    _check_names([prompt.name for prompt in prompts], str(path))
    return PromptSet(source=value, prompts=prompts, reference=reference)


def read_reference(value: str) -> str:
    """The text of a UTF-8 file."""
    path = Path(value).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8"
        raise PipelineError(f"the reference text cannot be read: {said}", where=str(path)) from error
    if not text.strip():
        raise PipelineError("the reference text is empty", where=str(path))
    return text


def _file(value: str) -> Path:
    path = Path(value).expanduser()
    if path.is_file():
        return path
    if value in options(GROUP):
        return config_file(GROUP, value)
    hint = f"a yaml file, or {did_you_mean(value, options(GROUP))}"
    raise PipelineError(f"there is no prompts file {value}", where="prompts", hint=hint)


def _parsed(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise PipelineError(f"the prompts file is not yaml: {said}", where=str(path), hint=_SHAPE) from error


def _prompt(entry: Any, number: int, path: str) -> Prompt:
    where = f"{path}: prompt {number}"
    if isinstance(entry, Mapping):
        _check_keys(entry, _ENTRY_KEYS, where)
        name, text = entry.get("name", str(number)), entry.get("prompt")
    else:
        name, text = str(number), entry
    if not isinstance(text, str) or not text.strip():
        raise PipelineError(f"{text!r} is no prompt", where=where, hint=_SHAPE)
    return Prompt(name=str(name), text=text)


def _check_keys(found: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise PipelineError(f"there is no key '{key}'", where=where, hint=did_you_mean(str(key), known))


def _check_names(names: list[str], where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PipelineError(f"two prompts have the name {', '.join(twice)}", where=where)
