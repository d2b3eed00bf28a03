"""Where Hydra finds the configs, whatever the working directory.

`task=` takes names, paths and lists of them, so it is a plain value here, while `configs/task/` holds the
tasks' yaml. Hydra takes every folder of its search path for a config group; this source hides those that are
plain values.
"""

from __future__ import annotations

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from fusion_pipeline.cli.keys import PLAIN
from fusion_pipeline.registry import config_dirs

SCHEME = "configs"


class ConfigFolder(FileConfigSource):
    """A folder of configs without the folders whose names are plain values."""

    @staticmethod
    def scheme() -> str:
        """What the search path calls this kind of source."""
        return SCHEME

    def is_group(self, config_path: str) -> bool:
        """Whether Hydra may choose among the folder's files."""
        return config_path not in PLAIN and super().is_group(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """What lies in a folder."""
        return [
            name for name in super().list(config_path, results_filter) if config_path or name not in PLAIN
        ]


class ConfigFolders(SearchPathPlugin):
    """Puts the installed configs, then a person's own, on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra before it composes."""
        for number, folder in enumerate(config_dirs()):
            provider = "installed" if number == 0 else "--config-dir"
            search_path.append(provider, f"{SCHEME}://{folder}")


def register() -> None:
    """Makes Hydra use both."""
    Plugins.instance().register(ConfigFolder)
    Plugins.instance().register(ConfigFolders)
