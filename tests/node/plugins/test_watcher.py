"""Plugins are found by their sockets, and told whether they are taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node.plugins.programs import Registrar
from tiphys.node.plugins import watcher as watching
from tiphys.node.plugins.watcher import Plugin, PluginRefused, PluginWatcher
from tiphys.node.volumes.kubeletfolder import KubeletFolder


class Taken:
    """A handler that takes all plugins but those named ``bad``."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []

    def validate(self, plugin: Plugin) -> None:
        if plugin.name == "bad":
            raise PluginRefused("it is bad")

    async def register(self, plugin: Plugin) -> None:
        self.plugins.append(plugin)

    async def deregister(self, plugin: Plugin) -> None:
        self.plugins.remove(plugin)


@pytest.fixture
def folder(tmp_path: Path) -> KubeletFolder:
    return KubeletFolder(tmp_path / "kubelet")


@pytest.fixture
async def serve(folder: KubeletFolder) -> AsyncIterator[Callable[..., Any]]:
    registrars: list[Registrar] = []

    async def start(path: str = "plugins_registry/it.sock", **info: Any) -> Registrar:
        registrar = Registrar(folder, path, **info)
        registrars.append(registrar)
        await registrar.start()
        return registrar

    yield start
    for registrar in registrars:
        await registrar.stop()


async def test_a_plugin_is_handed_to_the_handler_of_its_type(
    folder: KubeletFolder, serve: Callable[..., Any]
) -> None:
    taken = Taken()
    watcher = PluginWatcher(folder, {"T": taken})
    await watcher.look()
    registrar = await serve(type="T", name="it", endpoint="/var/lib/kubelet/plugins/it/x.sock")
    await watcher.look()
    assert taken.plugins == [Plugin("it", "/var/lib/kubelet/plugins/it/x.sock", ("v1",))]
    assert registrar.told == [(True, "")]
    await watcher.look()
    assert len(registrar.told) == 1


async def test_a_plugin_that_is_gone_or_was_replaced_is_let_go(
    folder: KubeletFolder, serve: Callable[..., Any]
) -> None:
    taken = Taken()
    watcher = PluginWatcher(folder, {"T": taken})
    first = await serve(type="T", name="it")
    await watcher.look()
    await first.stop()
    second = await serve(type="T", name="it2")
    await watcher.look()
    assert [plugin.name for plugin in taken.plugins] == ["it2"]
    await second.stop()
    await watcher.look()
    assert taken.plugins == []


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (
            {"type": "X", "name": "it"},
            "RegisterPlugin error -- no handler registered for plugin type: X at socket "
            "/var/lib/kubelet/plugins_registry/it.sock",
        ),
        (
            {"type": "T", "name": "bad"},
            "RegisterPlugin error -- plugin validation failed with err: it is bad",
        ),
    ],
)
async def test_a_plugin_is_told_why_it_is_not_taken(
    folder: KubeletFolder, serve: Callable[..., Any], info: dict[str, str], problem: str
) -> None:
    taken = Taken()
    registrar = await serve(**info)
    await PluginWatcher(folder, {"T": taken}).look()
    assert registrar.told == [(False, problem)]
    assert taken.plugins == []


async def test_sockets_in_folders_count_and_hidden_ones_and_links_do_not(
    folder: KubeletFolder, serve: Callable[..., Any]
) -> None:
    taken = Taken()
    await serve("plugins_registry/deep/it.sock", type="T", name="deep")
    await serve("plugins_registry/.hidden.sock", type="T", name="hidden")
    await serve("elsewhere/it.sock", type="T", name="linked")
    registry = folder.root / "plugins_registry"
    (registry / "linked.sock").symlink_to(folder.root / "elsewhere" / "it.sock")
    (registry / "linked").symlink_to(folder.root / "elsewhere")
    (registry / "file.sock").touch()
    await PluginWatcher(folder, {"T": taken}).look()
    assert [plugin.name for plugin in taken.plugins] == ["deep"]


class Slow(Taken):
    """A handler that takes plugins named ``slow`` only when it is `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def register(self, plugin: Plugin) -> None:
        if plugin.name == "slow":
            await self.released.wait()
        await super().register(plugin)


def names(taken: Taken) -> list[str]:
    return [plugin.name for plugin in taken.plugins]


async def test_a_plugin_that_takes_long_keeps_no_other_from_being_seen(
    folder: KubeletFolder, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.3)
    slow = Slow()
    watcher = PluginWatcher(folder, {"T": slow})
    await serve("plugins_registry/a.sock", type="T", name="slow")
    await watcher.look()
    await serve("plugins_registry/b.sock", type="T", name="quick")
    async with asyncio.timeout(20):
        while names(slow) != ["quick"]:
            await watcher.look()
        slow.released.set()
        while "slow" not in names(slow):
            await watcher.look()
    assert len(slow.plugins) == 2


async def test_one_that_goes_while_it_is_registered_is_let_go(
    folder: KubeletFolder, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.3)
    slow = Slow()
    watcher = PluginWatcher(folder, {"T": slow})
    registrar = await serve(type="T", name="slow")
    await watcher.look()
    (folder.root / "plugins_registry" / "it.sock").unlink()
    await watcher.look()
    slow.released.set()
    async with asyncio.timeout(20):
        while registrar.told == [] or slow.plugins:
            await watcher.look()


async def test_who_takes_the_place_of_one_that_is_being_registered_comes_after_it(
    folder: KubeletFolder, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_LOOK", 0.3)
    slow = Slow()
    watcher = PluginWatcher(folder, {"T": slow})
    await serve(type="T", name="slow")
    await watcher.look()
    (folder.root / "plugins_registry" / "it.sock").unlink()
    second = await serve(type="T", name="next")
    await watcher.look()
    slow.released.set()
    async with asyncio.timeout(20):
        while second.told == []:
            await watcher.look()
    assert names(slow) == ["next"]
