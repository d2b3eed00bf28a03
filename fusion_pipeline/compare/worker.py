"""`python -m fusion_pipeline.compare.worker`: runs tickets from its standard input, for `compare.parallel`.

A line in is a ticket, a line out how it ended. Both ends belong to one comparison; nothing else is read.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from fusion_pipeline.compare.ticket import Ticket, execute
from fusion_pipeline.registry import add_config_dir

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Ends with its input, that is, with the comparison."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the comparison ends its workers itself
    _end_with_parent()
    # Whatever prints past Python's sys.stdout must not end up among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        message = json.loads(line)
        for folder in message["config_dirs"]:
            add_config_dir(folder)
        ticket = Ticket(
            key=message["key"],
            config=message["config"],
            folder=Path(message["folder"]),
            log=Path(message["log"]),
        )
        answers.write(json.dumps(asdict(execute(ticket))) + "\n")
        answers.flush()


def _end_with_parent() -> None:
    """Also where the comparison is killed: a run that nobody waits for would hold its artefact's lock."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
