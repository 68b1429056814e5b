"""Locust, and how its number of users is set: by its own web API."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Protocol

import aiohttp

from tiphys.addons.loadtest import Settings
from tiphys.addons.loadtest.changes import tolerations
from tiphys.addons.loadtest.supervisor import end, ends_with_us
from tiphys.addons.loadtest.types import LoadTest
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import Client
from tiphys.machinery import conditions
from tiphys.machinery.addresses import authority
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

LABEL = "loadtest.tiphys.dev/generator"
_PORT = 8089
_PATIENCE = 10.0  # seconds for an answer of locust
# Seconds for what users have started when they are stopped. Cutting it off would leave test data
# written after the system was requested to remove it.
_UNDER_WAY = 10
_FILE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\.py$")


class GeneratorError(RuntimeError):
    """Locust is not available; the text is the reason."""


class GeneratorStarting(GeneratorError):
    """Locust will be there soon."""

    def __init__(self) -> None:
        super().__init__("locust is starting")


class Generator(Protocol):
    async def url(self, test: LoadTest) -> str:
        """Makes sure that it is there. Where its API is; nothing: not yet. Raises
        GeneratorError."""

    async def stop(self, test: LoadTest) -> bool:
        """Whether it is gone."""


async def set_users(
    session: aiohttp.ClientSession, url: str, users: int, seconds: float, host: str
) -> None:
    """Has so many users from now on, the last of them after `seconds`. Raises GeneratorError."""
    timeout = aiohttp.ClientTimeout(_PATIENCE)
    try:
        async with session.get(f"{url}/stats/requests", timeout=timeout) as answer:
            stats = await answer.json(content_type=None)
        if not isinstance(stats, dict) or "state" not in stats:
            raise GeneratorError(f"what answers at {url} is no locust")
        current_users = int(stats.get("user_count") or 0) if stats.get("state") in _RUNNING else 0
        if current_users == users and stats.get("state") in _RUNNING:
            return
        rate = max(1.0, abs(users - current_users) / max(seconds, 0.1))
        form = {"user_count": str(users), "spawn_rate": f"{rate:g}", "host": host}
        async with session.post(f"{url}/swarm", data=form, timeout=timeout) as answer:
            if answer.status != 200:
                raise GeneratorError(f"locust answers {answer.status}")
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise GeneratorError(f"locust: {error or 'no answer'}") from None


_RUNNING = ("running", "spawning")


class PodGenerator:
    """A Deployment of one pod, on the nodes for the load."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def url(self, test: LoadTest) -> str:
        wanted = deployment_of(test, self._settings.image)
        await self._client.apply(wanted, manager="tiphys-loadtest", force=True)
        meta = test.metadata
        selector = f"{LABEL}={meta.name}"
        pods = (await self._client.list(core_v1.Pod, meta.namespace, labels=selector)).items
        for pod in pods:
            ready = conditions.is_true(pod.status.conditions, "Ready")
            if ready and pod.status.pod_ip and not pod.metadata.deletion_timestamp:
                return f"http://{authority(pod.status.pod_ip, _PORT)}"
        return ""

    async def stop(self, test: LoadTest) -> bool:
        name = f"{test.metadata.name}-generator"
        namespace = test.metadata.namespace
        try:
            await self._client.delete(apps_v1.Deployment, name, namespace, propagation="Foreground")
            return False
        except StatusError as error:
            if not is_not_found(error):
                raise
        return True


def deployment_of(test: LoadTest, image: str) -> apps_v1.Deployment:
    """The pod in which users live."""
    generator = test.spec.generator
    meta = test.metadata
    pool = test.spec.pools.load if test.spec.pools is not None else {}
    labels = {LABEL: meta.name}
    command = ["python3", "-m", "locust", "-f", "/scripts/locustfile.py"]
    command += ["--web-port", str(_PORT), "--stop-timeout", str(_UNDER_WAY)]
    if generator.workers:
        command += ["--processes", str(generator.workers)]
    container = core_v1.Container(
        name="locust",
        image=image,
        command=[*command, "--host", generator.host],
        ports=[core_v1.ContainerPort(name="web", container_port=_PORT)],
        readiness_probe=core_v1.Probe(
            http_get=core_v1.HTTPGetAction(path="/stats/requests", port=_PORT), period_seconds=2
        ),
        volume_mounts=[core_v1.VolumeMount(name="scripts", mount_path="/scripts")],
        resources=generator.resources or core_v1.ResourceRequirements(),
    )
    scripts = core_v1.ConfigMapVolumeSource(name=generator.locustfile)
    deployment = apps_v1.Deployment(
        metadata=ObjectMeta(
            name=f"{meta.name}-generator", namespace=meta.namespace, labels=dict(labels)
        )
    )
    deployment.spec.replicas = 1
    deployment.spec.selector = LabelSelector(match_labels=labels)
    deployment.spec.template = core_v1.PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(labels)),
        spec=core_v1.PodSpec(
            automount_service_account_token=False,
            containers=[container],
            volumes=[core_v1.Volume(name="scripts", config_map=scripts)],
            node_selector=dict(pool),
            tolerations=[from_builtins(one, core_v1.Toleration) for one in tolerations(pool)],
        ),
    )
    return deployment


class ProcessGenerator:
    """Processes of this machine, one for each test. They end with us: the users of a test go when
    its conductor is killed, and come back with the next one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: dict[str, tuple[asyncio.subprocess.Process, int]] = {}

    async def url(self, test: LoadTest) -> str:
        uid = test.metadata.uid
        process, port = self._running.get(uid, (None, 0))
        if process is None or process.returncode is not None:
            port = await self._start(test)
        return f"http://127.0.0.1:{port}" if await _listens(port) else ""

    async def _start(self, test: LoadTest) -> int:
        generator = test.spec.generator
        folder = self._settings.folder
        script = Path(folder) / generator.locustfile
        if not folder or not _FILE.match(generator.locustfile) or not script.is_file():
            raise GeneratorError(
                f"there is no script {generator.locustfile} in the add-on's folder"
            )
        port = _free_port()
        command = [*ends_with_us(), _locust(self._settings.locust), "-f", str(script)]
        command += ["--web-host", "127.0.0.1", "--web-port", str(port), "--host", generator.host]
        command += ["--stop-timeout", str(_UNDER_WAY)]
        if generator.workers:
            command += ["--processes", str(generator.workers)]
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, stdin=null, stdout=null, stderr=null, cwd=folder
        )
        self._running[test.metadata.uid] = (process, port)
        return port

    async def stop(self, test: LoadTest) -> bool:
        process, _ = self._running.pop(test.metadata.uid, (None, 0))
        if process is not None:
            await end(process, 2 * _UNDER_WAY)
        return True

    async def close(self) -> None:
        for process, _ in self._running.values():
            await end(process)
        self._running.clear()


def _locust(wanted: str) -> str:
    """Raises GeneratorError."""
    beside = Path(sys.executable).with_name("locust")
    path = wanted or (str(beside) if beside.exists() else shutil.which("locust"))
    if not path or not os.access(path, os.X_OK):
        raise GeneratorError("there is no locust: pip install 'tiphys[loadtest]'")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
