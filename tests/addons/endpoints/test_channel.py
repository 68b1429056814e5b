"""Real gRPC servers, a real xDS server, and both kinds of client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.addons.endpoints.world import World, all_known, world
from tiphys.addons.endpoints.bootstrap import bootstrap
from tiphys.addons.endpoints.channel import Channel, NoEndpoints

METHOD = "/test.Who/Are"


async def calls(channel: Channel, count: int, at_once: int = 16) -> Counter[str]:
    """Who answered `count` calls. Raises what any of them raises."""
    answered: Counter[str] = Counter()
    left = iter(range(count))
    who = channel.unary_unary(METHOD)

    async def client() -> None:
        for _ in left:
            answered[(await who(b"", timeout=10)).decode()] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return answered


async def test_requests_are_spread_and_a_slow_pod_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        even = await calls(channel, 600)
        assert len(even) == 6 and min(even.values()) >= 50
        for pod in made.pods:
            pod.delay = 0.02
        made.pods[0].delay = 0.2
        uneven = await calls(channel, 300)
        assert uneven["pod-0"] <= 25


async def test_the_own_zone_is_used_and_others_when_it_dies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made, made.channel("a") as channel:
        await all_known(channel)
        assert set(await calls(channel, 100)) == {"pod-0", "pod-1"}
        for pod in made.pods[:2]:
            await pod.stop()
        assert set(await calls(channel, 100)) == {"pod-2", "pod-3", "pod-4", "pod-5"}


async def test_pods_that_go_get_no_more_and_none_of_the_calls_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        under_way = asyncio.create_task(calls(channel, 600))
        for pod in made.pods[:3]:
            await made.remove(pod)
            await pod.stop(grace=1)
        assert sum((await under_way).values()) == 600
        await all_known(channel, 3)
        assert set(await calls(channel, 60)) == {"pod-3", "pod-4", "pod-5"}


async def test_what_is_known_is_used_while_the_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        await made.cluster.tasks.stop()
        assert len(await calls(channel, 120)) == 6


async def test_a_service_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        world(monkeypatch) as made,
        Channel("nobody.default:80", made.server, wait=0.2) as channel,
    ):
        with pytest.raises(NoEndpoints, match=r"nobody\.default:80"):
            await channel.unary_unary(METHOD)(b"")


UNCHANGED = """
import collections, sys, grpc
target = sys.argv[1]
counted = collections.Counter()
with grpc.insecure_channel(target) as channel:
    who = channel.unary_unary("/test.Who/Are")
    for _ in range(int(sys.argv[2])):
        counted[who(b"", timeout=25, wait_for_ready=sys.argv[3] == "wait").decode()] += 1
import json
print(json.dumps(counted))
"""


async def unchanged(made: World, target: str, count: int, wait: str = "wait") -> Any:
    """An ordinary gRPC program with nothing but a bootstrap in its environment."""
    address, _, port = made.server.rpartition(":")
    env = {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap(address, int(port)))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        UNCHANGED,
        target,
        str(count),
        wait,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    return json.loads(out) if process.returncode == 0 else err.decode()


async def test_unchanged_clients_resolve_services(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        counted = await unchanged(made, "xds:///who.default:80", 600)
        assert len(counted) == 6 and max(counted.values()) - min(counted.values()) <= 6


@pytest.mark.slow  # six thousand calls
async def test_unchanged_clients_reach_each_pod_within_a_hundredth_of_the_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        counted = await unchanged(made, "xds:///who.default:80", 6000)
        print("calls by pod:", counted)
        assert len(counted) == 6 and all(abs(count - 1000) <= 10 for count in counted.values())
        ours = await calls(channel, 6000)
        print("of our channel:", dict(ours))
        assert all(abs(count - 1000) <= 100 for count in ours.values())


@pytest.mark.slow  # gRPC waits fifteen seconds before it believes that there is no such service
async def test_unchanged_clients_are_told_which_service_there_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(monkeypatch) as made:
        failed = await unchanged(made, "xds:///nobody.default:80", 1, "fail")
        assert "LDS resource nobody.default:80: does not exist" in failed
