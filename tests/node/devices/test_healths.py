"""How devices are, as their drivers say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from tests.node.plugins.programs import Serving, shown
from tiphys.machinery import protobuf
from tiphys.node.devices import dramessages as m
from tiphys.node.devices.draplugins import HEALTH, Drivers
from tiphys.node.devices.healths import DeviceHealths, Health
from tiphys.node.plugins.watcher import Plugin
from tiphys.node.volumes.kubeletfolder import KubeletFolder

PLACE = "driver/pool/d0"
UNKNOWN = Health()


def said(health: int, holds: int = 0, message: str = "", name: str = "d0") -> m.DeviceHealth:
    device = m.DeviceIdentifier(pool_name="pool", device_name=name)
    return m.DeviceHealth(
        device=device, health=health, health_check_timeout_seconds=holds, message=message
    )


def test_what_a_driver_says_holds_for_a_while() -> None:
    healths = DeviceHealths()
    assert healths.of(PLACE, 0) == UNKNOWN
    assert healths.take("driver", [said(1)], 0) == {PLACE}
    assert healths.of(PLACE, 29.9) == Health("Healthy")
    assert healths.of(PLACE, 30) == UNKNOWN
    healths.take("driver", [said(2, holds=5, message="hot")], 40)
    assert healths.of(PLACE, 44) == Health("Unhealthy", "hot")
    assert healths.expire(44) == set()
    assert healths.expire(45) == {PLACE}


def test_only_what_is_new_is_told() -> None:
    healths = DeviceHealths()
    healths.take("driver", [said(1)], 0)
    assert healths.take("driver", [said(1)], 10) == set()
    assert healths.take("driver", [said(1, message="warm")], 20) == {PLACE}
    assert healths.take("driver", [said(7)], 20) == {PLACE}
    assert healths.of(PLACE, 20).state == "Unknown"
    assert healths.take("driver", [m.DeviceHealth(health=1)], 20) == set()


class Telling(Serving):
    """A driver that says of one device after the other how it is."""

    def __init__(self, folder: KubeletFolder) -> None:
        handler = grpc.unary_stream_rpc_method_handler(
            self._watch,
            request_deserializer=lambda data: protobuf.decode(data, m.NodeWatchResourcesRequest),
            response_serializer=protobuf.encode,
        )
        super().__init__(folder, "plugins/d/dra.sock", {HEALTH: {"NodeWatchResources": handler}})

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield m.NodeWatchResourcesResponse(devices=[said(1)])
        yield m.NodeWatchResourcesResponse(devices=[said(2, message="broken")])
        await asyncio.Event().wait()


async def test_a_driver_is_listened_to_from_its_registration_on(tmp_path: Path) -> None:
    folder = KubeletFolder(tmp_path / "kubelet")
    driver = Telling(folder)
    await driver.start()
    heard: asyncio.Queue[tuple[str, int, str]] = asyncio.Queue()

    def take(name: str, devices: list[m.DeviceHealth]) -> None:
        for one in devices:
            heard.put_nowait((name, one.health, one.message))

    drivers = Drivers(folder, take)
    versions = ("v1.DRAPlugin", HEALTH)
    plugin = Plugin("driver", shown("plugins/d/dra.sock"), versions)
    await drivers.register(plugin)
    async with asyncio.timeout(20):
        assert [await heard.get(), await heard.get()] == [
            ("driver", 1, ""),
            ("driver", 2, "broken"),
        ]
    await drivers.deregister(plugin)
    await drivers.stop()
    await driver.stop()
