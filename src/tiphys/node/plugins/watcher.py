"""Finds plugins: sockets that appear in `plugins_registry`.

Upstream's kubelet compares what it wants with what it has once a second, too; so the folder is read
that often, and no more than so much of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tiphys.client.tasks import TaskGroup
from tiphys.node.plugins import messages as m
from tiphys.node.plugins.channel import PluginChannel, PluginError
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder

log = logging.getLogger(__name__)

REGISTRY = "plugins_registry"
_LOOK = 1.0  # seconds between looks, as upstream
_CALL = 1.0  # seconds that a plugin has to say who it is, as upstream
_NOTIFY = 5.0  # seconds that it has to take the answer, as upstream
_MOST_ENTRIES = 1024  # read of each folder
_MOST_PLUGINS = 256
_DEPTH = 3  # folders within folders that are looked into
# Seconds before a failed plugin is tried again. Upstream waits for two minutes at last; a driver
# that a busy machine keeps from answering in time is not to be missed for that long.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Plugin(NamedTuple):
    """name: of the driver, or of the resource that a device plugin has
    endpoint: the socket that it serves at, as it calls it
    versions: of its interface, by their names in gRPC"""

    name: str
    endpoint: str
    versions: tuple[str, ...]


class PluginRefused(Exception):
    """A handler refuses a plugin, which receives the text."""


class PluginHandler(Protocol):
    """What takes the plugins of one type."""

    def validate(self, plugin: Plugin) -> None:
        """Raises PluginRefused."""
        ...

    async def register(self, plugin: Plugin) -> None:
        """Raises PluginRefused, PluginError."""
        ...

    async def deregister(self, plugin: Plugin) -> None:
        """Its socket is gone, or another one took its place."""
        ...


class _Identity(NamedTuple):
    """Distinguishes a socket from one that took its place under the same name."""

    inode: int
    changed: int


@dataclass
class _Seen:
    """A socket that is there. `plugin` once it is registered; else it is tried again at
    `retry_at`, in seconds of the monotonic clock. `is_gone`: it is not there any more; `trying`: it
    is being registered."""

    identity: _Identity
    is_gone: bool = False
    trying: asyncio.Task[None] | None = None
    plugin: Plugin | None = None
    handler: PluginHandler | None = None
    retry_at: float = 0.0
    pause: float = _FIRST_PAUSE


class PluginWatcher:
    """`handlers` are by the type of plugin: ``DRAPlugin``, ``DevicePlugin``, ``CSIPlugin``."""

    def __init__(self, folder: KubeletFolder, handlers: Mapping[str, PluginHandler]) -> None:
        self._folder = folder
        self._handlers = handlers
        self._seen: dict[str, _Seen] = {}
        self._turns: dict[str, asyncio.Lock] = {}  # by path
        self._tasks = TaskGroup("plugins")

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except OSError as error:
                    log.warning("Plugins cannot be looked for: %s", error)
                await asyncio.sleep(_LOOK)
        finally:
            await self._tasks.stop()

    async def look(self) -> None:
        """Registers the sockets that are new, and deregisters those that are gone. A plugin that
        takes long keeps no other from being seen: it goes on after the look."""
        sockets = await asyncio.to_thread(self._sockets)
        work = [
            self._tasks.start(self._forget(path, self._seen.pop(path)), f"forget {path}")
            for path, seen in list(self._seen.items())
            if sockets.get(path) != seen.identity
        ]
        now = time.monotonic()
        for path, identity in sockets.items():
            seen = self._seen.setdefault(path, _Seen(identity))
            if seen.plugin is None and seen.trying is None and seen.retry_at <= now:
                seen.trying = self._tasks.start(self._try(path, seen), path)
                work.append(seen.trying)
        if work:
            await asyncio.wait(work, timeout=_LOOK)

    async def _forget(self, path: str, seen: _Seen) -> None:
        seen.is_gone = True
        async with self._turn(path):  # after its registration, should that be under way
            if seen.plugin is not None and seen.handler is not None:
                log.info("Plugin %s is gone", seen.plugin.name)
                await seen.handler.deregister(seen.plugin)

    async def _try(self, path: str, seen: _Seen) -> None:
        try:
            async with self._turn(path):
                if not seen.is_gone:
                    await self._register(path, seen)
        except (PluginError, PluginRefused, ValueError) as error:
            log.warning("Plugin at %s is not registered: %s", path, error)
            seen.retry_at = time.monotonic() + seen.pause
            seen.pause = min(2 * seen.pause, _LONGEST_PAUSE)
        finally:
            seen.trying = None

    @contextlib.asynccontextmanager
    async def _turn(self, path: str) -> AsyncIterator[None]:
        """One after the other, in their order: what comes at a path waits until what was there has
        been deregistered."""
        turn = self._turns.setdefault(path, asyncio.Lock())
        async with turn:
            yield
        if not turn.locked() and path not in self._seen:
            self._turns.pop(path, None)

    async def _register(self, path: str, seen: _Seen) -> None:
        channel = PluginChannel(self._folder, path)
        try:
            method = "pluginregistration.Registration/GetInfo"
            info = await channel.call(method, m.InfoRequest(), m.PluginInfo, _CALL)
            plugin = Plugin(info.name, info.endpoint or path, tuple(info.supported_versions))
            handler = self._handlers.get(info.type)
            if handler is None:
                problem = f"no handler registered for plugin type: {info.type} at socket {path}"
                await _refuse(channel, problem)
                raise PluginRefused(problem)
            await self._hand_over(channel, plugin, handler)
            seen.plugin = plugin
            seen.handler = handler
            log.info("Plugin %s is registered", plugin.name)
        finally:
            await channel.close()

    async def _hand_over(
        self, channel: PluginChannel, plugin: Plugin, handler: PluginHandler
    ) -> None:
        try:
            handler.validate(plugin)
        except PluginRefused as error:
            await _refuse(channel, f"plugin validation failed with err: {error}")
            raise
        try:
            await handler.register(plugin)
        except (PluginRefused, PluginError) as error:
            await _refuse(channel, f"plugin registration failed with err: {error}")
            raise
        try:
            await _notify(channel, m.RegistrationStatus(plugin_registered=True))
        except PluginError:
            await handler.deregister(plugin)
            raise

    # --- what there is ---

    def _sockets(self) -> dict[str, _Identity]:
        """Every socket of the registry, by its path as plugins see it."""
        with self._folder.folder(REGISTRY) as registry:
            sockets = _sockets_in(registry, f"{SHOWN}/{REGISTRY}", _DEPTH)
            return dict(itertools.islice(sockets, _MOST_PLUGINS))


def _sockets_in(folder: int, path: str, depth: int) -> Iterator[tuple[str, _Identity]]:
    """As upstream, what starts with a dot is left alone. No link is followed."""
    with os.scandir(folder) as listed:
        entries = list(itertools.islice(listed, _MOST_ENTRIES))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                yield f"{path}/{entry.name}", _Identity(status.st_ino, status.st_ctime_ns)
            elif stat.S_ISDIR(status.st_mode) and depth > 0:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(entry.name, flags, dir_fd=folder)
                try:
                    yield from _sockets_in(below, f"{path}/{entry.name}", depth - 1)
                finally:
                    os.close(below)


async def _refuse(channel: PluginChannel, problem: str) -> None:
    """Notifies a plugin of why it is refused, if it listens."""
    with contextlib.suppress(PluginError):
        text = f"RegisterPlugin error -- {problem}"
        await _notify(channel, m.RegistrationStatus(error=text))


async def _notify(channel: PluginChannel, status: m.RegistrationStatus) -> None:
    method = "pluginregistration.Registration/NotifyRegistrationStatus"
    await channel.call(method, status, m.RegistrationStatusResponse, _NOTIFY)
