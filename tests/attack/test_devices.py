"""Plugins that try to make the node read, call or do what is not theirs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.node.plugins.programs import Serving, shown
from tiphys.machinery import protobuf
from tiphys.node.devices import dramessages as dra
from tiphys.node.devices import healths
from tiphys.node.devices import pluginmessages as m
from tiphys.node.devices.deviceplugins import Endpoint, RegistrationServer, socket_of
from tiphys.node.devices.draplugins import Driver, DriverError
from tiphys.node.devices.healths import DeviceHealths
from tiphys.node.plugins import watcher
from tiphys.node.plugins.channel import PluginError
from tiphys.node.plugins.watcher import PluginWatcher
from tiphys.node.volumes.kubeletfolder import KubeletFolder


@pytest.fixture
def folder(tmp_path: Path) -> KubeletFolder:
    made = KubeletFolder(tmp_path / "k")
    made.root.mkdir()
    return made


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """The socket of somebody else, who must not be called."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = tmp_path / "o.sock"
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        yield path
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize("way", ["link", "folder", "up", "elsewhere", "relative"])
async def test_no_endpoint_leads_to_the_sockets_of_others(
    folder: KubeletFolder, outside: Path, way: str
) -> None:
    (folder.root / "link").symlink_to(outside)
    (folder.root / "folder").symlink_to(outside.parent)
    (folder.root / "up").mkdir()
    endpoints = {
        "link": shown("link"),
        "folder": shown("folder/o.sock"),
        "up": shown("up/../../o.sock"),
        "elsewhere": str(outside),
        "relative": "o.sock",
    }
    driver = Driver("d", endpoints[way], "v1.DRAPlugin", folder)
    with pytest.raises(DriverError):
        await driver.prepare([dra.Claim(uid="u", name="c")])
    request = m.RegisterRequest(endpoint=f"../{way}/../../../../../{outside}")
    with pytest.raises(PluginError):
        Endpoint("example.com/it", folder, socket_of(request))


async def test_a_flood_of_sockets_costs_a_look_no_more_than_so_much(
    folder: KubeletFolder, caplog: pytest.LogCaptureFixture
) -> None:
    registry = folder.root / watcher.REGISTRY
    registry.mkdir()
    held = []
    for number in range(300):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(registry / f"{number}"))
        held.append(listening)
    await PluginWatcher(folder, {}).look()
    for listening in held:
        listening.close()
    refused = [one for one in caplog.records if "is not registered" in one.getMessage()]
    assert len(refused) == 256


def raw(answer: bytes) -> Any:
    """An RPC that answers with these bytes."""

    async def call(request: bytes, context: Any) -> bytes:
        return answer

    return grpc.unary_unary_rpc_method_handler(call)


@pytest.fixture
async def answering(folder: KubeletFolder) -> AsyncIterator[Any]:
    serving: list[Serving] = []

    async def serve(answer: bytes) -> Driver:
        methods = {"NodePrepareResources": raw(answer)}
        made = Serving(folder, "plugins/x.sock", {"d.DRAPlugin": methods})
        serving.append(made)
        await made.start()
        return Driver("d", shown("plugins/x.sock"), "d.DRAPlugin", folder)

    yield serve
    for one in serving:
        await one.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff",
        b"\x0a\x7f",
        b"\x0a\x04\x0a\x02\xff\xfe",
        b"\x0a" * 100_000,
        b"\x00" * (5 << 20),
        protobuf.encode(
            dra.NodePrepareResourcesResponse(claims={"other": dra.NodePrepareResourceResponse()})
        ),
        b"",
    ],
    ids=["tag", "length", "text", "long", "too-long", "other", "nothing"],
)
async def test_no_answer_of_a_driver_is_more_than_an_error(answering: Any, answer: bytes) -> None:
    driver = await answering(answer)
    with pytest.raises(DriverError):
        await driver.prepare([dra.Claim(uid="u", name="c")])


async def test_a_registration_that_is_no_message_is_refused(folder: KubeletFolder) -> None:
    registered: list[m.RegisterRequest] = []

    async def register(request: m.RegisterRequest) -> None:
        registered.append(request)

    server = RegistrationServer(folder, register)
    await server.start()
    path = folder.root / "device-plugins" / "kubelet.sock"
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        for body in (b"\xff", b"\x0a\x7f", b"\x00" * (1 << 20), b""):
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/v1beta1.Registration/Register")(body, timeout=10)
    await server.stop()
    assert registered == []


def flood(count: int) -> list[dra.DeviceHealth]:
    return [
        dra.DeviceHealth(
            device=dra.DeviceIdentifier(pool_name="p", device_name=f"d{number}"),
            health=1,
            health_check_timeout_seconds=1 << 62,
            message="x" * 5000 if number == 0 else "",
        )
        for number in range(count)
    ]


def test_a_driver_that_tells_of_too_many_devices_is_not_remembered_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(healths, "_MOST_PLACES", 100)
    known = DeviceHealths()
    assert len(known.take("d", flood(120), 0)) == 100
    assert len(known.of("d/p/d0", 0).message) == 1024
    assert known.of("d/p/d119", 0).state == "Unknown"
    assert len(known.expire(86_401)) == 100
