"""Servers that are audited, and what they have told."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from tests.attack.wire import ask
from tiphys.apiserver.audit.options import AuditOptions, LogOptions, WebhookOptions
from tiphys.client.client import Client
from tiphys.testing import LocalCluster

NAMESPACE = "/api/v1/namespaces/default"
CONFIG_MAPS = f"{NAMESPACE}/configmaps"
EVERYTHING = {"level": "RequestResponse"}


def policy_file(folder: Path, *rules: dict[str, Any], **more: Any) -> Path:
    file = folder / "policy.yaml"
    content = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}
    file.write_text(yaml.safe_dump(content))
    return file


class Audited:
    """A server and its log."""

    def __init__(self, cluster: LocalCluster, log: Path) -> None:
        self.cluster = cluster
        self.log = log
        self.client = cluster.client

    def events(self, path: str = "", stage: str = "") -> list[dict[str, Any]]:
        """What was told of requests whose URI begins with a path, of one stage or of all."""
        lines = [json.loads(line) for line in self.log.read_bytes().split(b"\n") if line]
        return [
            event
            for event in lines
            if event["requestURI"].startswith(path) and event["stage"].startswith(stage)
        ]

    def last(self, path: str = "") -> dict[str, Any]:
        return self.events(path, "ResponseComplete")[-1]

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return await self.as_user(self.client, method, path, body, **headers)

    @staticmethod
    async def as_user(client: Client, method: str, path: str, body: Any = None, **more: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        return await ask(client, method, path, headers, body)


@contextlib.asynccontextmanager
async def audited(
    folder: Path,
    *rules: dict[str, Any],
    webhook: WebhookOptions | None = None,
    log: dict[str, Any] | None = None,
    **policy: Any,
) -> AsyncIterator[Audited]:
    """A server with a policy of the rules, and a log in the folder."""
    file = folder / "audit.log"
    options = AuditOptions(
        policy_file(folder, *rules, **policy),
        LogOptions(str(file), **(log or {})),
        webhook or WebhookOptions(),
    )
    async with LocalCluster(audit=options) as cluster:
        yield Audited(cluster, file)
