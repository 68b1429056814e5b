"""Definitions, objects and requests that tests of the API server share."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


CRONS = "/apis/stable.example.com/v1/namespaces/default/crontabs"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {
                    "type": "string",
                    "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$",
                },
                "image": {"type": "string", "default": "nginx"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "host": {"type": "string"},
            },
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
        },
    },
}


def definition(**version: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": SCHEMA},
                    **version,
                }
            ],
        },
    }


def cron(name: str = "a", spec: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    body = {"cronSpec": "* * * * */5", **(spec or {})}
    return {
        "apiVersion": "stable.example.com/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": body,
        **extra,
    }


async def call(
    server: LocalCluster,
    method: str,
    path: str,
    body: Any = None,
    content: str = "application/json",
    **query: str,
) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    return json.loads(await server.client.request(method, path, data, query or None, content))


async def refused(awaitable: Any) -> StatusError:
    with pytest.raises(StatusError) as error:
        await awaitable
    return error.value


async def established(server: LocalCluster, crd: dict[str, Any]) -> dict[str, Any]:
    await call(server, "POST", CRDS, crd)
    return await settled(server, crd["metadata"]["name"])


async def settled(server: LocalCluster, name: str) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while True:
            crd = await call(server, "GET", f"{CRDS}/{name}")
            if {c["type"]: c["status"] for c in crd["status"]["conditions"]}.get("Established"):
                return crd  # type: ignore[no-any-return]
            await asyncio.sleep(0)


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
