"""A cluster with the add-on on hollow nodes, and servers beside it that triggers ask."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import generate_latest

from tests.builders import machine_address
from tiphys.addons.keda.types import Condition, ScaledObject
from tiphys.api import apps_v1, autoscaling_v2, core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.controllers import autoscaler
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server")

AT_ONCE = {
    "scaleUp": {"policies": [{"type": "Percent", "value": 1000, "periodSeconds": 1}]},
    "scaleDown": {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}],
    },
}
"""A behaviour that does not spread scaling over minutes."""


@contextlib.asynccontextmanager
async def keda_cluster(*addons: str) -> AsyncIterator[LocalCluster]:
    """Its autoscalers look twice a second, and not every 15 seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoscaler, "PERIOD", 0.5)
        async with LocalCluster(2, addons=["keda", *addons]) as cluster:
            yield cluster


@dataclass
class RedisServer:
    """A real one, without a password or with one, which can be stopped and started again."""

    folder: Path
    port: int
    arguments: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"{machine_address()}:{self.port}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            "redis-server", "--bind", machine_address(), "--protected-mode", "no", "--save", "",
            "--dir", str(self.folder), *(self.arguments or ("--port", str(self.port))),
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(20):
            while not await self._is_listening():  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)

    async def _is_listening(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(machine_address(), self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None

    async def command(self, *words: str) -> None:
        """One command, with redis-cli."""
        done = await asyncio.create_subprocess_exec(
            "redis-cli", "-h", machine_address(), "-p", str(self.port), *words,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await done.wait() == 0


@contextlib.asynccontextmanager
async def redis_server(folder: Path, *arguments: str, port: int = 0) -> AsyncIterator[RedisServer]:
    server = RedisServer(folder, port or free_port(), arguments)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def deployment(name: str, replicas: int = 0) -> apps_v1.Deployment:
    labels = {"app": name}
    made = apps_v1.Deployment(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.replicas = replicas
    made.spec.selector = LabelSelector(match_labels=labels)
    made.spec.template.metadata = ObjectMeta(labels=labels)
    made.spec.template.spec.containers = [core_v1.Container(name="main", image="none")]
    return made


def scaled_object(
    name: str, *triggers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> ScaledObject:
    """Of the Deployment of that name; `spec` in the names of JSON."""
    plain = {
        "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
        "spec": {"scaleTargetRef": {"name": name}, "triggers": list(triggers), **spec},
    }
    return from_builtins(plain, ScaledObject)


def trigger(type_: str, name: str = "", **metadata: str) -> dict[str, Any]:
    return {"type": type_, "name": name, "metadata": metadata}


class Count(NamedTuple):
    """So many replicas were wanted at that time, in seconds since the epoch."""

    replicas: int
    at: float


class Moment(NamedTuple):
    """A revision, and how many replicas were wanted then."""

    revision: str
    replicas: int


class Scaled:
    """A Deployment and its ScaledObject in a cluster."""

    def __init__(self, cluster: LocalCluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    @classmethod
    async def made(cls, cluster: LocalCluster, obj: ScaledObject, replicas: int = 0) -> Scaled:
        await cluster.client.create(deployment(obj.metadata.name, replicas))
        await cluster.client.create(obj)
        return cls(cluster, obj.metadata.name)

    async def object(self) -> ScaledObject:
        return await self.cluster.client.get(ScaledObject, self.name, "default")

    async def replicas(self) -> int | None:
        found = await self.cluster.client.get(apps_v1.Deployment, self.name, "default")
        return found.spec.replicas

    async def has(self, count: int, seconds: float = 20.0) -> None:
        async def check() -> bool:
            return await self.replicas() == count

        await self.cluster.eventually(check, seconds)

    async def moment(self) -> Moment:
        only = f"metadata.name={self.name}"
        listed = await self.cluster.client.list(apps_v1.Deployment, "default", fields=only)
        return Moment(listed.revision, listed.items[0].spec.replicas or 0)

    async def counts(self, since: Moment, until: int, seconds: float = 60.0) -> list[Count]:
        """The numbers of replicas after a moment, one after the other, up to one of them."""
        found: list[Count] = []
        last = since.replicas
        only = f"metadata.name={self.name}"
        async with asyncio.timeout(seconds):
            async for event in self.cluster.client.watch(
                apps_v1.Deployment, "default", fields=only, revision=since.revision
            ):
                if event.kind != "MODIFIED" or event.obj.spec.replicas in (None, last):
                    continue
                last = event.obj.spec.replicas
                found.append(Count(last, time.time()))
                if last == until:
                    break
        return found

    async def condition(self, kind: str) -> Condition:
        listed = (await self.object()).status.conditions
        return next((one for one in listed if one.type == kind), Condition())

    async def says(self, kind: str, status: str, reason: str = "", seconds: float = 20.0) -> str:
        """Waits for a condition, and returns its message."""

        async def check() -> Condition | None:
            found = await self.condition(kind)
            fits = found.status == status and reason in ("", found.reason)
            return found if fits else None

        found: Condition = await self.cluster.eventually(check, seconds)
        return found.message

    async def autoscaler(self, name: str = "") -> autoscaling_v2.HorizontalPodAutoscaler | None:
        listed = await self.cluster.client.list(autoscaling_v2.HorizontalPodAutoscaler, "default")
        wanted = name or f"keda-hpa-{self.name}"
        return next((one for one in listed.items if one.metadata.name == wanted), None)

    async def annotate(self, **annotations: str | None) -> None:
        """Keys with underscores for dashes, below autoscaling.keda.sh."""
        keys = {
            f"autoscaling.keda.sh/{key.replace('_', '-')}": value
            for key, value in annotations.items()
        }
        patch = {"metadata": {"annotations": keys}}
        await self.cluster.client.patch(
            ScaledObject, self.name, patch, "default", media="application/merge-patch+json"
        )

    async def tells(self, *reasons: str) -> None:
        """Waits for events with these reasons."""

        async def check() -> bool:
            events = (await self.cluster.client.list(core_v1.Event, "default")).items
            about = [event for event in events if event.involved_object.name == self.name]
            return set(reasons) <= {event.reason for event in about}

        await self.cluster.eventually(check)


def page(cluster: LocalCluster) -> str:
    """The metrics of all that runs in a cluster."""
    registries = [client.metrics.registry for client in cluster._clients]
    return "".join(generate_latest(registry).decode() for registry in registries)
