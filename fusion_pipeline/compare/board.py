"""Where each run of a comparison stands, which may start, and which learning rate its trials chose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusion_pipeline.compare.plan import RUN, TRIAL, Planned
from fusion_pipeline.tasks.spec import TaskSpec

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


@dataclass
class Entry:
    """A planned run and what became of it. `planned` gets its learning rate when its trials are done."""

    planned: Planned
    state: str = WAITING
    folder: Path | None = None
    error: str | None = None
    reused: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in (DONE, FAILED)


@dataclass(frozen=True)
class Board:
    """All runs by key, in order."""

    tasks: dict[str, TaskSpec]
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, planned: Sequence[Planned], tasks: dict[str, TaskSpec]) -> Board:
        """A board on which every run waits."""
        return cls(tasks, {one.key: Entry(one) for one in planned})

    @property
    def open(self) -> bool:
        """Whether a run waits or is under way."""
        return any(not entry.settled for entry in self.entries.values())

    def ready(self) -> list[str]:
        """Keys of the runs that wait for nothing; a run whose parents failed fails here."""
        found = []
        for key, entry in self.entries.items():
            if entry.state != WAITING or not all(self.entries[k].settled for k in entry.planned.after):
                continue
            problem = self._problem(entry.planned)
            if problem is None:
                entry.planned = self.decided(entry.planned)
                found.append(key)
            else:
                entry.state, entry.error = FAILED, problem
        return found

    def parents(self, planned: Planned) -> list[Path]:
        """The folders of a run's source adapters."""
        return [folder for key in planned.parents if (folder := self.entries[key].folder) is not None]

    def settle(self, key: str, folder: Path, error: str | None, *, reused: bool = False) -> Entry:
        """Notes how a run ended."""
        entry = self.entries[key]
        entry.state, entry.error = (DONE, None) if error is None else (FAILED, error)
        entry.folder, entry.reused = folder, reused
        return entry

    def postpone(self, key: str) -> None:
        """Puts a run at the end of the queue."""
        self.entries[key] = self.entries.pop(key)
        self.entries[key].state = WAITING

    def decided(self, planned: Planned) -> Planned:
        """The run with the learning rate whose trial was best on validation, the first of equals."""
        scores = [(self.validation(key), key) for key in planned.trials]
        known = [(score, key) for score, key in scores if score is not None]
        if not known:
            return planned
        best = max(score for score, _ in known)
        chosen = next(key for score, key in known if score == best)
        return replace(planned, learning_rate=self.entries[chosen].planned.learning_rate)

    def validation(self, key: str) -> float | None:
        """A finished run's primary metric on validation; None where it has none."""
        entry = self.entries[key]
        if entry.state != DONE or entry.folder is None:
            return None
        found = score(read_metrics(entry.folder), "validation", self.tasks[entry.planned.task])
        assert found is not None
        return found

    def choices(self) -> list[dict[str, Any]]:
        """How each learning rate was chosen: every trial's validation score, and no test score."""
        groups: dict[tuple[str, ...], Planned] = {}
        for entry in self.entries.values():
            if entry.planned.role == RUN and entry.planned.trials:
                groups.setdefault(entry.planned.trials, entry.planned)
        return [self._choice(planned) for planned in groups.values()]

    def missing(self) -> list[Entry]:
        """Runs that should be in the report and are not."""
        return [e for e in self.entries.values() if e.planned.role == RUN and e.state != DONE]

    def failed(self) -> list[Entry]:
        """What went wrong; a trial only where no other trial could stand in for it."""
        chosen = {key for choice in self._decidable() for key in choice}
        return [e for k, e in self.entries.items() if e.state == FAILED and k not in chosen]

    def _decidable(self) -> list[tuple[str, ...]]:
        groups = {entry.planned.trials for entry in self.entries.values() if entry.planned.trials}
        return [group for group in groups if any(self.entries[key].state == DONE for key in group)]

    def _problem(self, planned: Planned) -> str | None:
        for key in planned.parents:
            if self.entries[key].state == FAILED:
                return f"the source adapter {key} failed"
        if planned.trials and all(self.entries[key].state == FAILED for key in planned.trials):
            return "every trial of a learning rate failed"
        return None

    def _choice(self, planned: Planned) -> dict[str, Any]:
        trials = [self.entries[key] for key in planned.trials]
        assert all(trial.planned.role == TRIAL for trial in trials)
        return {
            "task": planned.task,
            "contender": planned.contender,
            "train_size": planned.train_size,
            "seed": trials[0].planned.seed,
            "metric": self.tasks[planned.task].metric,
            "trials": [
                {
                    "learning_rate": trial.planned.learning_rate,
                    "validation": self.validation(key),
                    "error": trial.error,
                }
                for key, trial in zip(planned.trials, trials, strict=True)
            ],
            "chosen": self.decided(planned).learning_rate,
        }


def read_metrics(folder: Path) -> dict[str, Any]:
    """An artefact's metrics.json."""
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def score(metrics: Mapping[str, Any], split: str, task: TaskSpec) -> float | None:
    """The task's primary metric; where several tasks were trained jointly, it bears the task's name."""
    values = metrics.get(split) or {}
    found = values.get(f"{task.name}/{task.metric}", values.get(task.metric))
    return None if found is None else float(found)
