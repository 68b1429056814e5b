"""Webhooks and policies that tests of admission share."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.apiserver.builders import call
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

GROUP = "/apis/admissionregistration.k8s.io/v1"


Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Hook:
    """A webhook that answers as it is told and keeps what it was asked."""

    def __init__(self, server: LocalCluster) -> None:
        self.server, self.port = server, free_port()
        self.answer: Answer = lambda request: {"allowed": True}
        self.asked: list[dict[str, Any]] = []
        self.ca = base64.b64encode(server.authority.path.read_bytes()).decode()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = (await request.json())["request"]
        self.asked.append(asked)
        if request.path == "/slow":
            await asyncio.sleep(5)
        response = {"uid": asked["uid"], **self.answer(asked)}
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )

    async def start(self) -> web.ServerRunner:
        certificate, key = self.server.authority.ensure(
            "hook", "hook", (), ("127.0.0.1",), server=True
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        runner = web.ServerRunner(web.Server(self._handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context).start()
        return runner

    def config(
        self, kind: str, path: str = "/", resources: tuple[str, ...] = ("configmaps",), **more: Any
    ) -> Any:
        rule = {
            "operations": ["*"],
            "apiGroups": ["*"],
            "apiVersions": ["*"],
            "resources": list(resources),
        }
        hook = {
            "name": "a.example.com",
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.ca},
            **more,
        }
        return {
            "apiVersion": GROUP[6:],
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": "h"},
            "webhooks": [hook],
        }

    async def register(self, kind: str, **more: Any) -> Any:
        return await call(
            self.server,
            "POST",
            f"{GROUP}/{kind.lower()}webhookconfigurations",
            self.config(kind, **more),
        )


@pytest.fixture
async def hook(server: LocalCluster) -> AsyncIterator[Hook]:
    made = Hook(server)
    runner = await made.start()
    yield made
    await runner.cleanup()


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    raw = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": raw}


def policy(
    *validations: dict[str, Any], kind: str = "Validating", **spec: Any
) -> list[dict[str, Any]]:
    rule = {
        "operations": ["CREATE", "UPDATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["configmaps"],
    }
    body = {"matchConstraints": {"resourceRules": [rule]}, **spec}
    bound: dict[str, Any] = {"policyName": "p"}
    if kind == "Validating":
        body["validations"], bound["validationActions"] = list(validations), ["Deny"]
    made = {
        "apiVersion": GROUP[6:],
        "kind": f"{kind}AdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": body,
    }
    return [
        made,
        {
            "apiVersion": GROUP[6:],
            "kind": f"{kind}AdmissionPolicyBinding",
            "metadata": {"name": "b"},
            "spec": bound,
        },
    ]


async def bind(server: LocalCluster, objects: list[dict[str, Any]]) -> None:
    for obj, plural in zip(objects, ("policies", "policybindings"), strict=True):
        kind = "mutatingadmission" if obj["kind"].startswith("Mutating") else "validatingadmission"
        await call(server, "POST", f"{GROUP}/{kind}{plural}", obj)
