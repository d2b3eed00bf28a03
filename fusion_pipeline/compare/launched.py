"""A comparison's runs through Hydra's launchers: `hydra/launcher=joblib` here, `hydra/launcher=submitit_slurm` there.

A launcher takes a batch and comes back when all of it is done, so every run that may start is one batch.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from fusion_pipeline.compare.ticket import Finished, Ticket, execute
from fusion_pipeline.registry import add_config_dir, config_dirs
from fusion_pipeline.store import MANIFEST
from fusion_pipeline.workflow import COMMAND, command_line

PLAIN = "basic"
_ENDLESS = 1_000_000
_GLANCE = 1.0  # seconds between two looks at which artefacts have appeared


def is_launched() -> bool:
    """Whether the command line names a launcher other than Hydra's own, which runs one after the other."""
    if not HydraConfig.initialized():
        return False
    return HydraConfig.get().runtime.choices.get("hydra/launcher", PLAIN) not in (None, PLAIN)


class Launched:
    """Hands each batch to the launcher, and sees by their artefacts which runs are done."""

    def __init__(self) -> None:
        self._batch: list[Ticket] = []
        self._open: dict[str, Ticket] = {}
        self._answers: list[Finished] = []
        self._thread: threading.Thread | None = None
        self._started = 0.0

    @property
    def room(self) -> int:
        """A batch takes all; while one is under way, none."""
        return 0 if self._open else _ENDLESS

    def start(self, ticket: Ticket) -> None:
        """Puts the ticket into the next batch."""
        self._batch.append(ticket)

    def wait(self) -> list[Finished]:
        """Launches the batch, then tells of runs as their artefacts appear, and of all when it is over."""
        if self._batch:
            self._launch()
        assert self._thread is not None
        while True:
            self._thread.join(_GLANCE)
            over = not self._thread.is_alive()
            found = self._answered() if over else self._appeared()
            for one in found:
                self._open.pop(one.key)
            if found or over:
                return found

    def close(self) -> None:
        """What the launcher has taken runs on; a later comparison finds it."""

    def _launch(self) -> None:
        batch, self._batch = self._batch, []
        self._open = {ticket.key: ticket for ticket in batch}
        self._answers, self._started = [], time.monotonic()
        launcher = _launcher(_Task(batch), batch[0].log.parent)

        def work() -> None:
            try:
                self._answers = [_answer(one) for one in launcher.launch([[] for _ in batch], 0)]
            except Exception as error:  # noqa: BLE001 (a worker that died must not end the comparison)
                self._answers = [_lost(ticket, error) for ticket in batch]

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def _appeared(self) -> list[Finished]:
        there = [key for key, ticket in self._open.items() if _is_new(ticket, self._started)]
        return [Finished(key=key, error=None, seconds=time.monotonic() - self._started) for key in there]

    def _answered(self) -> list[Finished]:
        return [one for one in self._answers if one.key in self._open]


class _Task:
    """What a worker runs: Hydra tells it by its number which ticket is meant. It is pickled, and so is plain."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self.tickets = list(tickets)
        self.config_dirs = [str(folder) for folder in config_dirs()[1:]]
        self.command = command_line()

    def __call__(self, _config: DictConfig) -> Finished:
        os.environ[COMMAND] = self.command
        for folder in self.config_dirs:
            add_config_dir(folder)
        return execute(self.tickets[int(HydraConfig.get().job.num)])


def _launcher(task: Callable[[DictConfig], Any], folder: Path) -> Any:
    """The launcher of the running command line, with a task of ours; its own files go below `folder`."""
    config = copy.deepcopy(HydraConfig.instance().cfg)
    assert config is not None
    OmegaConf.set_readonly(config.hydra, False)
    config.hydra.sweep.dir = str(folder.absolute())
    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(config_loader=loader, callbacks=Callbacks())
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)


def _answer(returned: JobReturn) -> Finished:
    finished: Finished = returned.return_value
    return finished


def _is_new(ticket: Ticket, since: float) -> bool:
    return (ticket.folder / MANIFEST).is_file() and not ticket.config["overwrite"]


def _lost(ticket: Ticket, error: Exception) -> Finished:
    if (ticket.folder / MANIFEST).is_file():
        return Finished(key=ticket.key, error=None, seconds=0.0)
    text = str(error).strip().splitlines()
    what = f"the launcher failed: {type(error).__name__}{': ' + text[0] if text else ''}; see {ticket.log}"
    return Finished(key=ticket.key, error=what, seconds=0.0)
