"""wandb's offline runs, read back from their files: LevelDB's log format around wandb's own protobuf records."""

import json
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

HEADER, BLOCK = 7, 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class OfflineRun:
    """What one offline run says."""

    record: object = None
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    history: list = field(default_factory=list)
    artefacts: list = field(default_factory=list)
    over: bool = False


def offline_runs(root):
    """Every run below a folder, by display name."""
    found = [whole(path) for path in sorted(Path(root).glob("wandb/offline-run-*/*.wandb"))]
    return {run.record.display_name: run for run in found}


def whole(path, seconds=30):
    """A run with its last record, which wandb's own process may write a moment after the run is over."""
    end = time.monotonic() + seconds
    while not (run := read(path)).over and time.monotonic() < end:
        time.sleep(0.1)
    assert run.over, path
    return run


def read(path):
    from wandb.proto import wandb_internal_pb2

    run = OfflineRun()
    for data in chunks(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.record = record.run
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "exit":
            run.over = True
        elif kind == "summary":
            run.summary |= items(record.summary.update)
        elif kind == "history":
            run.history.append(items(record.history.item))
        elif kind == "artifact":
            run.artefacts.append(record.artifact)
    return run


def items(several):
    """Values by key; what was logged under parts of a key is a dict again."""
    found = {}
    for item in several:
        *outer, last = item.nested_key or [item.key]
        inside = found
        for key in outer:
            inside = inside.setdefault(key, {})
        inside[last] = json.loads(item.value_json)
    return found


def chunks(data):
    """The records of a log: pieces of one record carry FIRST, MIDDLE … LAST, and no piece spans two blocks."""
    at, whole = HEADER, b""
    while at < len(data):
        left = BLOCK - at % BLOCK
        kind = 0
        if left >= HEADER:
            _, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        if kind == 0:
            at += left
            continue
        if at + HEADER + size > len(data):
            return  # still being written
        piece, at = data[at + HEADER : at + HEADER + size], at + HEADER + size
        whole = piece if kind in (FULL, FIRST) else whole + piece
        if kind in (FULL, LAST):
            yield whole
