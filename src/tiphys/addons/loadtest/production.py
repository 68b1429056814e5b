"""The cluster that versions and replicas are copied from."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tiphys.addons.loadtest import PROCESSES
from tiphys.addons.loadtest.changes import Original, original_of
from tiphys.addons.loadtest.supervisor import wanted_of
from tiphys.addons.loadtest.types import Application, LoadTest
from tiphys.addons.optional import NAMESPACE
from tiphys.api import apps_v1, core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import Config
from tiphys.machinery.errors import StatusError


class ProductionError(RuntimeError):
    """Production cannot be read; the text is the reason."""


@asynccontextmanager
async def production(text: bytes) -> AsyncIterator[Client]:
    """A client of a kubeconfig that holds everything itself: it comes from a user, and files and
    programs of this machine are none of his business. Raises ProductionError."""
    with tempfile.TemporaryDirectory(prefix="tiphys-production-") as folder:
        async with Client(config_of(text, Path(folder)), agent="tiphys-loadtest") as client:
            yield client


def config_of(text: bytes, folder: Path) -> Config:
    """Raises ProductionError."""
    try:
        content = yaml.safe_load(text)
        context = _named(content, "contexts", content["current-context"])["context"]
        cluster = _named(content, "clusters", context["cluster"])["cluster"]
        user = _named(content, "users", context["user"])["user"]
        server = cluster["server"]
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise ProductionError(f"this is no kubeconfig: {error!r}") from None
    foreign = {"exec", "auth-provider", "tokenFile", "client-certificate", "client-key"} & {*user}
    if foreign or "certificate-authority" in cluster:
        named = ", ".join(sorted(foreign)) or "certificate-authority"
        raise ProductionError(f"the kubeconfig must hold what it needs itself, not {named}")
    if not str(server).startswith("https://"):
        raise ProductionError("the server of the kubeconfig is no https URL")
    return Config(
        server=str(server).rstrip("/"),
        ca=_file(cluster, "certificate-authority-data", folder),
        certificate=_file(user, "client-certificate-data", folder),
        key=_file(user, "client-key-data", folder),
        token=str(user.get("token", "")),
    )


def _named(content: Any, plural: str, name: str) -> Any:
    return next(one for one in content[plural] if one["name"] == name)


def _file(where: dict[str, Any], name: str, folder: Path) -> Path | None:
    if name not in where:
        return None
    path = folder / name
    try:
        data = base64.b64decode(where[name], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ProductionError(f"{name} of the kubeconfig is not base64") from None
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


async def originals_of(client: Client, test: LoadTest) -> dict[str, Original]:
    """How the applications of a test are in the production that it names. `client` is of the test's
    own cluster. Raises ProductionError."""
    production_ref = test.spec.production
    if production_ref is None:
        raise ProductionError("the test names no production")
    namespace = test.metadata.namespace
    try:
        secret = await client.get(core_v1.Secret, production_ref.secret_name, namespace)
    except StatusError as error:
        raise ProductionError(str(error)) from None
    text = secret.data.get(production_ref.key)
    if text is None:
        raise ProductionError(f"Secret {production_ref.secret_name} has no {production_ref.key}")
    async with production(text) as other:
        return await originals(other, test.spec.applications, production_ref.namespace or namespace)


async def originals(
    client: Client, applications: list[Application], namespace: str
) -> dict[str, Original]:
    """How each application is there. Raises ProductionError, also for one that is not."""
    try:
        processes = await _processes(client) if _has_processes(applications) else {}
        by_name = {}
        for application in applications:
            if application.substrate == "Process":
                state = wanted_of(processes.get(application.name, ""))
                if state is None:
                    raise ProductionError(f"production has no local service {application.name}")
                by_name[application.name] = Original(state.replicas, version=state.version)
                continue
            deployment = await client.get(apps_v1.Deployment, application.name, namespace)
            by_name[application.name] = original_of(to_builtins(deployment)["spec"])
        return by_name
    except (StatusError, Unreachable, OSError) as error:
        raise ProductionError(f"production: {error}") from None


def _has_processes(applications: list[Application]) -> bool:
    return any(one.substrate == "Process" for one in applications)


async def _processes(client: Client) -> dict[str, str]:
    return (await client.get(core_v1.ConfigMap, PROCESSES, NAMESPACE)).data
