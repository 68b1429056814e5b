"""Locust, as a pod and as a process, and what it is told: another program stands for it."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import test_utils, web

from tiphys.addons.loadtest import Settings, generator
from tiphys.addons.loadtest.generator import (
    GeneratorError,
    PodGenerator,
    ProcessGenerator,
    deployment_of,
    set_users,
)
from tiphys.addons.loadtest.types import LoadTest, Pools
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import Condition, ObjectMeta
from tiphys.machinery import errors


def a_test(**more: Any) -> LoadTest:
    made = LoadTest(metadata=ObjectMeta(name="evening", namespace="shop", uid="e"))
    made.spec.generator.host = "http://shop"
    made.spec.generator.locustfile = "customers.py"
    for name, value in more.items():
        setattr(made.spec.generator, name, value)
    return made


# --- what it is told ---


@pytest.mark.parametrize(
    "stats, users, told",
    [
        ({"state": "ready", "user_count": 7}, 40, ("40", "4")),
        ({"state": "stopped", "user_count": 7}, 7, ("7", "1")),
        ({"state": "running", "user_count": 7}, 7, None),
        ({"state": "spawning", "user_count": 7}, 7, None),
        ({"state": "running", "user_count": 60}, 10, ("10", "5")),
        ({"state": "running"}, 25, ("25", "2.5")),
        ({"state": "running", "user_count": 9}, 10, ("10", "1")),
    ],
)
async def test_users_come_evenly_in_their_time(
    stats: dict[str, Any], users: int, told: tuple[str, str] | None
) -> None:
    forms: list[dict[str, Any]] = []

    async def swarm(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        return web.Response()

    await _set(stats, swarm, users)
    if told is None:
        assert forms == []
    else:
        assert forms == [{"user_count": told[0], "spawn_rate": told[1], "host": "http://shop"}]


async def _set(stats: Any, swarm: Any, users: int, seconds: float = 10) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.json_response(stats)

    application = web.Application()
    application.router.add_get("/stats/requests", page)
    application.router.add_post("/swarm", swarm)
    async with test_utils.TestServer(application) as server, aiohttp.ClientSession() as session:
        await set_users(
            session, str(server.make_url("")).rstrip("/"), users, seconds, "http://shop"
        )


@pytest.mark.parametrize(
    "stats, status, words",
    [
        ([], 200, "is no locust"),
        ({"users": 1}, 200, "is no locust"),
        ({"state": "ready"}, 500, "locust answers 500"),
        ({"state": "ready"}, 201, "locust answers 201"),
        ({"state": "running", "user_count": "many"}, 200, "locust: invalid literal"),
    ],
)
async def test_what_does_not_answer_as_locust_does_is_told(
    stats: Any, status: int, words: str
) -> None:
    async def swarm(request: web.Request) -> web.Response:
        return web.Response(status=status)

    with pytest.raises(GeneratorError, match=words):
        await _set(stats, swarm, 3)


async def test_who_does_not_answer_is_told() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(GeneratorError, match=r"^locust: ."):
            await set_users(session, "http://127.0.0.1:1", 3, 0, "http://shop")


# --- a pod ---


def test_the_pod_in_which_users_live() -> None:
    test = a_test(workers=3)
    test.spec.pools = Pools(load={"pool": "load"}, system={"pool": "system"})
    made = to_builtins(deployment_of(test, "locust:1"))
    assert made["metadata"]["name"] == "evening-generator"
    assert made["metadata"]["namespace"] == "shop"
    labels = {"loadtest.tiphys.dev/generator": "evening"}
    template = made["spec"]["template"]
    for found in (made["metadata"]["labels"], template["metadata"]["labels"]):
        assert found == labels
    assert made["spec"]["selector"] == {"matchLabels": labels} and made["spec"]["replicas"] == 1
    pod = template["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "locust:1"
    assert container["command"] == [
        *("python3", "-m", "locust", "-f", "/scripts/locustfile.py"),
        *("--web-port", "8089", "--stop-timeout", "10", "--processes", "3"),
        *("--host", "http://shop"),
    ]
    assert container["ports"][0]["containerPort"] == 8089
    probe = container["readinessProbe"]
    assert probe["httpGet"]["path"] == "/stats/requests" and probe["httpGet"]["port"] == 8089
    assert probe["periodSeconds"] == 2
    assert pod["volumes"] == [{"name": "scripts", "configMap": {"name": "customers.py"}}]
    assert container["volumeMounts"][0]["mountPath"] == "/scripts"
    assert pod["nodeSelector"] == {"pool": "load"} and len(pod["tolerations"]) == 2
    assert pod["automountServiceAccountToken"] is False


def test_a_pod_of_few_wishes() -> None:
    pod = to_builtins(deployment_of(a_test(), "locust:1"))["spec"]["template"]["spec"]
    assert "--processes" not in pod["containers"][0]["command"]
    assert "nodeSelector" not in pod and "tolerations" not in pod


def pod(ip: str, *, ready: bool = True, leaving: bool = False) -> core_v1.Pod:
    made = core_v1.Pod()
    made.status.pod_ip = ip
    made.status.conditions = [Condition(type="Ready", status="True" if ready else "False")]  # type: ignore[list-item]
    made.metadata.deletion_timestamp = "2026-01-01T00:00:00Z" if leaving else None
    return made


class Server:
    def __init__(self, *pods: core_v1.Pod) -> None:
        self.pods = list(pods)
        self.applied: list[str] = []
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    async def apply(self, obj: Any, *, manager: str, force: bool) -> None:
        self.applied.append(f"{obj.metadata.name} by {manager}, {force}")

    async def list(self, kind: Any, namespace: str, labels: str) -> core_v1.PodList:
        self.asked.append((kind.__name__, namespace, labels))
        return core_v1.PodList(items=self.pods)

    async def delete(self, kind: Any, name: str, namespace: str, propagation: str) -> None:
        self.asked.append((kind.__name__, name, namespace, propagation))
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "pods, url",
    [
        ([], ""),
        ([pod("10.0.0.1", ready=False)], ""),
        ([pod("10.0.0.1", leaving=True)], ""),
        ([pod("")], ""),
        ([pod("", ready=True), pod("10.0.0.2")], "http://10.0.0.2:8089"),
        ([pod("fd00::2")], "http://[fd00::2]:8089"),
    ],
)
async def test_the_pod_is_reached_once_it_is_ready(pods: Any, url: str) -> None:
    server = Server(*pods)
    made = PodGenerator(cast(Any, server), Settings())
    assert await made.url(a_test()) == url
    assert server.applied == ["evening-generator by tiphys-loadtest, True"]
    assert server.asked == [("Pod", "shop", "loadtest.tiphys.dev/generator=evening")]


async def test_the_pod_is_gone_when_its_deployment_is() -> None:
    server = Server()
    made = PodGenerator(cast(Any, server), Settings())
    assert not await made.stop(a_test())
    assert server.asked == [("Deployment", "evening-generator", "shop", "Foreground")]
    server.error = errors.not_found("deployments", "evening-generator")
    assert await made.stop(a_test())
    server.error = errors.forbidden("deployments", "evening-generator", "no")
    with pytest.raises(errors.StatusError):
        await made.stop(a_test())


# --- a process ---

PRETENDED = """#!/bin/sh
echo "$@" > calling
mv calling called
exec sleep 30
"""


def settings(folder: Path) -> Settings:
    program = folder / "locust"
    program.write_text(PRETENDED)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "customers.py").touch()
    return Settings(folder=str(folder), locust=str(program))


async def test_a_process_runs_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening: list[int] = []

    async def listens(port: int) -> bool:
        listening.append(port)
        return len(listening) > 1

    monkeypatch.setattr(generator, "_listens", listens)
    made = ProcessGenerator(settings(tmp_path))
    test = a_test(workers=2)
    assert await made.url(test) == "", "it does not listen yet"
    port = listening[0]
    assert await made.url(test) == f"http://127.0.0.1:{port}" and listening == [port, port]
    process = made._running["e"][0]
    while not (tmp_path / "called").exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    said = (tmp_path / "called").read_text().splitlines()
    assert said == [
        f"-f {tmp_path}/customers.py --web-host 127.0.0.1 --web-port {port}"
        " --host http://shop --stop-timeout 10 --processes 2"
    ]
    assert await made.stop(test) and process.returncode is not None
    assert await made.stop(test), "one that is gone is gone"


async def test_a_process_that_ended_is_started_again(tmp_path: Path) -> None:
    made = ProcessGenerator(settings(tmp_path))
    test = a_test()
    assert await made.url(test) == ""
    first = made._running["e"][0]
    assert await made.url(test) == "" and made._running["e"][0] is first
    first.kill()
    await first.wait()
    await made.url(test)
    second = made._running["e"][0]
    assert second is not first
    await made.close()
    assert second.returncode is not None and made._running == {}


@pytest.mark.parametrize("script", ["other.py", "../customers.py", "locust", ".customers.py"])
async def test_a_script_is_one_of_the_folder(tmp_path: Path, script: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "customers.py").touch()
    (inner / ".customers.py").touch()
    made = ProcessGenerator(settings(inner))
    with pytest.raises(GeneratorError, match=f"there is no script {script} in the add-on's folder"):
        await made.url(a_test(locustfile=script))


async def test_without_a_folder_there_is_no_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "customers.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeneratorError, match="there is no script"):
        await ProcessGenerator(Settings()).url(a_test())


@pytest.mark.parametrize("mode, there", [(0o755, True), (0o644, True), (0o644, False)])
async def test_a_program_that_cannot_be_run_is_told(tmp_path: Path, mode: int, there: bool) -> None:
    chosen = settings(tmp_path)
    program = Path(chosen.locust)
    program.chmod(mode)
    if not there:
        program.unlink()
    if mode == 0o755:
        assert generator._locust(chosen.locust) == chosen.locust
        return
    with pytest.raises(GeneratorError, match="there is no locust: pip install"):
        await ProcessGenerator(chosen).url(a_test())


async def test_what_listens_is_known() -> None:
    async with test_utils.TestServer(web.Application()) as server:
        assert server.port is not None and await generator._listens(server.port)
    assert not await generator._listens(server.port)
