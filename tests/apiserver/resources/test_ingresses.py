"""Ingresses: upstream's networking/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.rules import fields, wrong_with
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins
from tiphys.api.networking_v1 import Ingress
from tiphys.apiserver.resources.ingresses import IngressStrategy

INGRESS = "ingresses.networking.k8s.io"
SERVICE = {"service": {"name": "s", "port": {"number": 80}}}


def backend(**parts: Any) -> dict[str, Any]:
    return {"spec": {"defaultBackend": {"service": None, **parts}}}


def port(**port: Any) -> dict[str, Any]:
    return backend(service={"name": "s", "port": {"number": None, "name": None, **port}})


def resource(**parts: Any) -> dict[str, Any]:
    return backend(resource={"kind": "K", "name": "n", **parts})


def rule(host: str = "a.b", **path: Any) -> dict[str, Any]:
    one = {"path": "/", "pathType": "Prefix", "backend": SERVICE, **path}
    return {"spec": {"rules": [{"host": host, "http": {"paths": [one]}}]}}


PATH = "spec.rules[0].http.paths[0]"
BACKEND = "spec.defaultBackend"


@each_row(
    [
        ({"spec": {"defaultBackend": None}}, ["spec"]),
        ({"spec": {"defaultBackend": None, **rule()["spec"]}}, []),
        ({"spec": {"ingressClassName": "A"}}, ["spec.ingressClassName"]),
        ({"spec": {"tls": [{"hosts": ["a.b", "*.c"], "secretName": "s"}]}}, []),
        ({"spec": {"tls": [{"hosts": ["a.b", "C"], "secretName": "S"}]}}, ["spec.tls[0].hosts[1]", "spec.tls[0].secretName"]),
        # --- rules ---
        (rule(), []),
        (rule(""), []),
        (rule("*.a.b"), []),
        (rule("10.1.1.1"), ["spec.rules[0].host"]),
        (rule("a.*.b"), ["spec.rules[0].host"]),
        ({"spec": {"rules": [{"host": "a"}]}}, []),
        (rule(pathType=""), [f"{PATH}.pathType"]),
        (rule(pathType="Regex"), [f"{PATH}.pathType"]),
        (rule(pathType="Exact", path="a"), [f"{PATH}.path"]),
        (rule(path=""), [f"{PATH}.path"]),
        (rule(pathType="ImplementationSpecific", path=""), []),
        (rule(backend={}), [f"{PATH}.backend.name"]),
        # --- backends ---
        (backend(), [f"{BACKEND}.name"]),
        (backend(service={"name": "", "port": {"number": 1}}), [f"{BACKEND}.service.name"]),
        (backend(service={"name": "S", "port": {"number": 1}}), [f"{BACKEND}.service.name"]),
        (backend(service={"name": "s", "port": None}), [BACKEND]),
        (port(), [BACKEND]),
        (port(name="http"), []),
        (port(name="HTTP"), [f"{BACKEND}.service.port.name"] * 2),
        (port(name="http", number=80), [BACKEND]),
        (port(number=65535), []),
        (port(number=65536), [f"{BACKEND}.service.port.number"]),
        (resource(), []),
        (resource(apiGroup="a.b"), []),
        (resource(apiGroup="A"), [f"{BACKEND}.resource.apiGroup"]),
        (resource(kind=""), [f"{BACKEND}.resource.kind"]),
        (resource(name="a/b"), [f"{BACKEND}.resource.name"]),
        ({"spec": {"defaultBackend": {"resource": {"kind": "K", "name": "n"}}}}, [BACKEND]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_ingress(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(INGRESS, parts)) == wrong


@pytest.mark.parametrize(
    ("body", "cells"),
    [
        ({}, ["<none>", "*", "", "80"]),
        (
            {
                "spec": {
                    "ingressClassName": "c",
                    "rules": [{"host": "a"}, {}, {"host": "b"}],
                    "tls": [{"hosts": ["a"]}],
                },
                "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}, {"hostname": "h"}]}},
            },
            ["c", "a,b", "1.1.1.1,h", "80, 443"],
        ),
    ],
)
def test_how_an_ingress_is_shown(body: dict[str, Any], cells: list[str]) -> None:
    made = from_builtins(body, Ingress)
    shown = {column.name: column.cell(made) for column in IngressStrategy.columns}
    assert [shown[name] for name in ("Class", "Hosts", "Address", "Ports")] == cells
