"""Bytes and text of a file, with an error a person can act on."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from fusion_pipeline.errors import PipelineError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_bytes(path: Path) -> bytes:
    """The file's content, unpacked where its name ends in .gz."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise PipelineError("there is no such file", where=str(path), hint="check the path") from None
    except OSError as error:
        raise PipelineError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    if path.suffix == ".gz" and content:
        content = _unpack(content, path)
    if not content:
        raise PipelineError("the file is empty", where=str(path), hint="one row per example")
    return content


def read_text(path: Path) -> str:
    """The file's content as UTF-8 text; a byte order mark at the start is dropped."""
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, content, error.start) from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise PipelineError(
            "the file holds NUL bytes: it is binary, or text in UTF-16",
            where=f"{path}, line {line}",
            hint=_iconv("UTF-16LE", path),
        )
    return text


def _unpack(content: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise PipelineError(
            f"the gzip file is damaged or cut off: {error}", where=str(path), hint="fetch or write it again"
        ) from error


def _not_utf8(path: Path, content: bytes, start: int) -> PipelineError:
    line = content.count(b"\n", 0, start) + 1
    encoding = "UTF-16" if content[:2] in _UTF16_MARKS else "WINDOWS-1252"
    return PipelineError(
        f"the file is not UTF-8: byte 0x{content[start]:02x} at offset {start}",
        where=f"{path}, line {line}",
        hint=_iconv(encoding, path),
    )


def _iconv(encoding: str, path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return f"save it as UTF-8; if it is {encoding}: iconv -f {encoding} -t UTF-8 {name} > utf8-{name}"
