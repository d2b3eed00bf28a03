"""Where a comparison's runs run: in this process one after the other, or in processes of their own, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue

from fusion_pipeline.compare.launched import Launched, is_launched
from fusion_pipeline.compare.ticket import Executor, Finished, Ticket, execute
from fusion_pipeline.registry import config_dirs
from fusion_pipeline.workflow import COMMAND, command_line


def choose_executor(count: int) -> Executor:
    """Hydra's launcher where the command line names one, else processes, or this one."""
    if is_launched():
        return Launched()
    return Here() if count == 1 else Processes(count)


class Here:
    """One after the other in this process."""

    def __init__(self) -> None:
        self._next: deque[Ticket] = deque()

    @property
    def room(self) -> int:
        """One at a time."""
        return 1 - len(self._next)

    def start(self, ticket: Ticket) -> None:
        """Keeps the ticket for `wait`."""
        self._next.append(ticket)

    def wait(self) -> list[Finished]:
        """Runs it."""
        return [execute(self._next.popleft())]

    def close(self) -> None:
        """Nothing runs on."""


class Processes:
    """At most `count` processes, each of which runs ticket after ticket; one that dies takes its ticket along."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: list[_Worker] = []
        self._busy: dict[str, _Worker] = {}
        self._done: SimpleQueue[Finished] = SimpleQueue()

    @property
    def room(self) -> int:
        """Processes without a ticket."""
        return self._count - len(self._busy)

    def start(self, ticket: Ticket) -> None:
        """Hands the ticket to a process, a new one where none waits."""
        number = next(n for n in range(self._count) if n not in {w.number for w in self._busy.values()})
        worker = self._idle.pop() if self._idle else _Worker(number, self._count)
        self._busy[ticket.key] = worker
        threading.Thread(target=self._run, args=(worker, ticket), daemon=True).start()

    def wait(self) -> list[Finished]:
        """The next that is done."""
        finished = self._done.get()
        worker = self._busy.pop(finished.key)
        if worker.alive:
            self._idle.append(worker)
        return [finished]

    def close(self) -> None:
        """Ends the processes; what they had not finished goes on from its checkpoint another time."""
        for worker in (*self._idle, *self._busy.values()):
            worker.stop()

    def _run(self, worker: _Worker, ticket: Ticket) -> None:
        self._done.put(worker.run(ticket))


class _Worker:
    """A process that reads tickets from its standard input, one a line."""

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fusion_pipeline.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(number, count),
        )

    @property
    def alive(self) -> bool:
        """Whether it takes another ticket."""
        return self._process.poll() is None

    def run(self, ticket: Ticket) -> Finished:
        """Sends the ticket and waits for the answer; a process that died is an error of its ticket."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        message = {
            "key": ticket.key,
            "config": ticket.config,
            "folder": str(ticket.folder),
            "log": str(ticket.log),
            "config_dirs": [str(folder) for folder in config_dirs()[1:]],
        }
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except (BrokenPipeError, ValueError):
            answer = ""
        if answer:
            return Finished(**json.loads(answer))
        code = self._process.wait()
        error = f"its process ended with code {code} (memory?); {ticket.log} has what it printed"
        return Finished(key=ticket.key, error=error, seconds=0.0)

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait()


def _devices() -> list[str]:
    """The GPUs that this process may use."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    return [one for one in given.split(",") if one]


def _environment(number: int, count: int) -> dict[str, str]:
    """This one's, with a share of the threads, and one of the devices where several are visible."""
    threads = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    own = {"OMP_NUM_THREADS": str(max(threads // count, 1)), COMMAND: command_line()}
    devices = _devices()
    if len(devices) > 1:
        own["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    # The child finds this very package, wherever it was started.
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    own["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **own}
