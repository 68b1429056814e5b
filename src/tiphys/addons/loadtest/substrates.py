"""Where applications run: in Deployments, or as processes of the machine. What is done to them can
be undone from what was saved."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from tiphys.addons.loadtest import PROCESSES
from tiphys.addons.loadtest.changes import Original, for_test, missing, replicas_of
from tiphys.addons.loadtest.supervisor import Supervisor, Wanted, service_of, wanted_of
from tiphys.addons.loadtest.types import Application
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.client.client import JSON_PATCH, MERGE, Client
from tiphys.machinery.errors import StatusError, is_not_found

_DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment"}


class Substrate(Protocol):
    async def save(self, name: str) -> Any:
        """How an application is, as JSON; None for one that is not there."""

    async def change(self, application: Application, saved: Any, original: Original | None) -> None:
        """Makes it what it is during the test."""

    async def restore(self, name: str, saved: Any) -> None:
        """Makes it what it was. One that is gone stays so."""

    async def missing(self, name: str) -> str:
        """What it lacks until it is as requested; nothing: it is ready."""


class Deployments:
    """Of one namespace. `pool` are labels of the nodes for the system."""

    def __init__(self, client: Client, namespace: str, pool: dict[str, str]) -> None:
        self._client = client
        self._namespace = namespace
        self._pool = pool

    async def _get(self, name: str) -> Any:
        """As it came: nothing is added or left out on the way into a snapshot and back."""
        try:
            return await self._client.get(_DEPLOYMENT, name, self._namespace)
        except StatusError as error:
            if is_not_found(error):
                return None
            raise

    async def save(self, name: str) -> Any:
        stored = await self._get(name)
        return stored["spec"] if stored is not None else None

    async def change(self, application: Application, saved: Any, original: Original | None) -> None:
        await self._write(application.name, for_test(saved, application, original, self._pool))

    async def restore(self, name: str, saved: Any) -> None:
        try:
            await self._write(name, saved)
        except StatusError as error:
            if not is_not_found(error):
                raise

    async def _write(self, name: str, spec: Any) -> None:
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        await self._client.patch(apps_v1.Deployment, name, patch, self._namespace, media=JSON_PATCH)

    async def missing(self, name: str) -> str:
        stored = await self._get(name)
        return missing(stored) if stored is not None else f"{name} is gone"


class Processes:
    """Local services: their state is the ConfigMap that the supervisor follows."""

    def __init__(self, client: Client, supervisor: Supervisor, folder: str) -> None:
        self._client = client
        self._supervisor = supervisor
        self._folder = folder

    async def save(self, name: str) -> Any:
        if service_of(self._folder, name) is None:
            return None
        stored = await self._client.get(core_v1.ConfigMap, PROCESSES, NAMESPACE)
        return {"state": stored.data.get(name)}

    async def change(self, application: Application, saved: Any, original: Original | None) -> None:
        before = wanted_of(saved["state"] or "") or Wanted(replicas=0, version="")
        service = service_of(self._folder, application.name)
        newest = list(service.versions)[-1] if service is not None and service.versions else ""
        version = original.version if original is not None else before.version or newest
        wanted = Wanted(
            replicas=replicas_of(application, before.replicas, original), version=version
        )
        await self._write(application.name, msgspec.json.encode(wanted).decode())

    async def restore(self, name: str, saved: Any) -> None:
        await self._write(name, saved["state"])

    async def _write(self, name: str, state: str | None) -> None:
        patch = {"data": {name: state}}
        await self._client.patch(core_v1.ConfigMap, PROCESSES, patch, NAMESPACE, media=MERGE)

    async def missing(self, name: str) -> str:
        """Asks the cluster first, so that what was just written is what is looked for."""
        stored = await self._client.get(core_v1.ConfigMap, PROCESSES, NAMESPACE)
        self._supervisor.follow(stored.data)
        return self._supervisor.missing(name)
