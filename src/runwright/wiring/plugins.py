"""Executors whose body is a plugin, and the names for those who write plugins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runwright.adapters.plugin.limits import PluginOptions
from runwright.adapters.plugin.remote import Remote
from runwright.adapters.plugin.serve import serve
from runwright.core.plugin import plugin_settings
from runwright.ports.system import Processes

__all__ = ["Remote", "plugin_executor", "serve"]


def plugin_executor(table: Mapping[str, Any], processes: Processes, base: Path) -> Remote:
    """Return the executor of a table with the key ``plugin``.

    Args:
        table: From the file, already checked.
        processes: Starts the plugin.
        base: Directory that it is started in.

    Raises:
        UsageError: If the extra ``grpc`` is not installed.
    """
    settings = plugin_settings(table)
    options = PluginOptions(startup_timeout=settings.startup_timeout, shared_files=settings.shared_files)
    return Remote(settings.plugin, cwd=base, processes=processes, options=options)
