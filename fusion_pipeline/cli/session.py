"""One command line: Hydra composes each run's config, and its stage runs."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fusion_pipeline.cli import compose, keys, report, sources
from fusion_pipeline.cli.sweep import agent_suffix, constant_keys, name_suffix, varying
from fusion_pipeline.cli.translate import COMPOSING, translate
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import locate, trusting
from fusion_pipeline.run import Run


@dataclass
class Session:
    """The runs of one command line and what became of them."""

    multirun: bool
    debug: bool
    constant: frozenset[str]
    process: int = field(default_factory=os.getpid)
    count: int = 0
    failures: list[tuple[str, Exception]] = field(default_factory=list)

    def job(self, config: DictConfig) -> None:
        """Runs one composed config. An error is kept, so that the other runs of a sweep go on."""
        self.count += 1
        changed = varying(_words(), self.constant) if self.multirun else {}
        label = " ".join(f"{key}={value}" for key, value in changed.items())
        try:
            title = f"run {self.count}: {label}" if self.multirun else ""
            run_stage(config, changed, title, keys.given(_words()))
        except Exception as error:
            if os.getpid() != self.process:  # a launcher's worker: the launcher brings the error home
                raise
            self.failures.append((label, error))
            if self.multirun:
                report.tell(error, debug=self.debug)

    def close(self) -> None:
        """Raises what went wrong."""
        if not self.failures:
            return
        if not self.multirun:
            raise self.failures[0][1]
        listed = "\n    ".join(label for label, _ in self.failures)
        raise PipelineError(f"{len(self.failures)} of {self.count} runs of the sweep failed:\n    {listed}")


def _words() -> list[str]:
    """The overrides of the run under way, as they were typed: `${…}` in them is not looked up."""
    words: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
    return words


def run_stage(
    config: DictConfig, changed: dict[str, str], title: str, typed: Mapping[str, str] | None = None
) -> None:
    """Checks a composed config and runs its stage; `typed` is what the command line itself gives."""
    content = compose.plain(config)
    compose.check(content)
    suffix = name_suffix(changed, content) or agent_suffix()
    run = Run.from_config(content, name_suffix=suffix, typed=typed, swept=tuple(changed))
    stage = locate(content["stage"]["_target_"], where="stage")
    if title:
        run.console.print(title, markup=False)
    with trusting(run.trust):
        stage(run)


def start(flags: Sequence[str], words: Sequence[str], *, multirun: bool, debug: bool) -> None:
    """Gives Hydra its flags and overrides and runs what it composes."""
    session = Session(multirun=multirun, debug=debug, constant=constant_keys(words))
    sources.register()

    def job(config: DictConfig) -> None:
        session.job(config)

    with _hydra_words([*flags, *words], sweeps=multirun):
        try:
            hydra.main(version_base="1.3", config_path=None, config_name="config")(job)()
        except COMPOSING as error:
            raise translate(error, words) from error
    session.close()


@contextmanager
def _hydra_words(words: Sequence[str], *, sweeps: bool) -> Iterator[None]:
    """Hydra reads sys.argv, hides errors unless told not to, and wants a folder for each sweep."""
    before, os.environ["HYDRA_FULL_ERROR"] = sys.argv, "1"
    own = any(word.startswith(("hydra.sweep.", "hydra/launcher", "hydra/sweeper")) for word in words)
    with tempfile.TemporaryDirectory(prefix="fusion-sweep-") as folder:
        extra = [f"hydra.sweep.dir={folder}"] if sweeps and not own else []
        sys.argv = [before[0], *words, *extra]
        try:
            yield
        finally:
            sys.argv = before
