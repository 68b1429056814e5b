"""Random and malformed requests to every verb of every resource. Run alone for many: python -m
tests.fuzz.requests 100000

What must hold: no answer of 5xx, none that is stuck, and whatever was stored can be read back and
deleted.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import sys
from collections import Counter
from typing import Any

from tests.apiserver.builders import definition, established
from tests.apiserver.kit import BODIES
from tiphys.api.catalog import Resource
from tiphys.client.client import Unreachable
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**70,
    -(2**63) - 1,
    1.5,
    1e300,
    "",
    "x",
    "a" * 300,
    "é\u0000",
    "../..",
    "1Gi",
    "-5",
    "50%",
    "2020-01-01T00:00:00Z",
    [],
    [None],
    [1, "a"],
    {},
    {"a": None},
    {"": ""},
    [[]],
    {"a": {"b": [1]}},
    "default",
    "kube-system",
]
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/html",
    "application/cbor",
)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO")
_SHARES = (4, 4, 3, 5, 2, 1, 1, 0.2)
# A verb's method, and whether it is about one object.
_VERBS = {
    "get": ("GET", True),
    "list": ("GET", False),
    "watch": ("GET", False),
    "create": ("POST", False),
    "update": ("PUT", True),
    "patch": ("PATCH", True),
    "delete": ("DELETE", True),
    "deletecollection": ("DELETE", False),
}
QUERIES: dict[str, list[str]] = {
    "dryRun": ["All", "Some", ""],
    "fieldManager": ["fuzz", ""],
    "fieldValidation": ["Strict", "Warn", "Ignore", "X"],
    "force": ["true", "x"],
    "limit": ["1", "0", "-1", "x", "99999999999999999999"],
    "continue": ["x", "e30", ""],
    "resourceVersion": ["0", "1", "x", "999999999", "-1"],
    "resourceVersionMatch": ["Exact", "NotOlderThan", "X"],
    "labelSelector": ["a=b", "a in (", "!", "a notin (b,c)", "=", "a" * 400],
    "fieldSelector": ["metadata.name=x", "spec.x=y", "a", ",,"],
    "watch": ["1", "x"],
    "timeoutSeconds": ["1", "x", "-1"],
    "sendInitialEvents": ["true", "x"],
    "allowWatchBookmarks": ["true"],
    "gracePeriodSeconds": ["0", "-1", "x", "1"],
    "propagationPolicy": ["Orphan", "Foreground", "X"],
    "orphanDependents": ["x"],
    "includeObject": ["Object", "None", "X"],
    "pretty": ["true"],
    "x": ["y"],
}
ACCEPTS = (
    "application/json",
    "*/*",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "text/html",
    "",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ";;,",
)


def twisted(value: Any, chance: random.Random, depth: int = 0) -> Any:
    """The value with something in it replaced, left out, doubled or added."""
    if chance.random() < 0.12 or depth > 12:
        return copy.deepcopy(chance.choice(JUNK))
    if isinstance(value, dict):
        made = {
            k: twisted(v, chance, depth + 1) if chance.random() < 0.25 else v
            for k, v in value.items()
            if chance.random() > 0.04
        }
        if chance.random() < 0.15:
            made[
                chance.choice(
                    [
                        "spec",
                        "status",
                        "metadata",
                        "x",
                        "name",
                        "labels",
                        "finalizers",
                        "ownerReferences",
                        "managedFields",
                    ]
                )
            ] = copy.deepcopy(chance.choice(JUNK))
        return made
    if isinstance(value, list):
        made_list = [twisted(v, chance, depth + 1) if chance.random() < 0.3 else v for v in value]
        return made_list * 2 if chance.random() < 0.1 else made_list
    return value if chance.random() < 0.5 else copy.deepcopy(chance.choice(JUNK))


class Generator:
    """Requests about `resources`, the same for the same seed. `last` is the resource of the last
    one."""

    def __init__(self, resources: list[Resource], seed: int) -> None:
        self.resources = resources
        self.last = resources[0]
        self.chance = random.Random(seed)

    def _body(self, resource: Resource, name: str) -> dict[str, Any]:
        group = resource.group_resource
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name},
            **BODIES.get(group, {}),
        }
        if group == "crontabs.stable.example.com":
            body["spec"] = {"cronSpec": "* * * * */5", "replicas": 1, "free": {"a": 1}}
        return copy.deepcopy(body)

    def _odd(self, resource: Resource) -> tuple[str, str, str]:
        """(method, path, name): any method, at a path that there may not be."""
        chance = self.chance
        name = chance.choice(["f0", "f1", "f2", "default", "%2e%2e", "a%00", "é", "x" * 300])
        method = chance.choices(_METHODS, _SHARES)[0]
        space = (
            chance.choice(["default", "default", "default", "nowhere", ""])
            if resource.namespaced
            else ""
        )
        sub = chance.choice(["", "", "", "", *(s.name for s in resource.subresources), "nope"])
        on_one = method not in ("POST",) and chance.random() < 0.8
        path = resource.path(
            space, name if on_one or sub else "", sub if on_one or method == "POST" else ""
        )
        return method, path, name

    def _aimed(self, resource: Resource) -> tuple[str, str, str]:
        """(method, path, name) of something that is served, and often there."""
        chance = self.chance
        name = chance.choice(["f0", "f1", "f2"])
        space = "default" if resource.namespaced else ""
        verb = chance.choice(resource.verbs or ("get",))
        method, on_one = _VERBS.get(verb, ("GET", True))
        sub = ""
        if on_one and resource.subresources and chance.random() < 0.3:
            part = chance.choice(resource.subresources)
            sub = part.name
            method = _VERBS.get(chance.choice(part.verbs or ("get",)), ("GET", True))[0]
        return method, resource.path(space, name if on_one else "", sub), name

    def request(self) -> tuple[str, str, bytes | None, dict[str, str], str, str]:
        """(method, path, body, query, content type, accept)."""
        chance, resource = self.chance, self.chance.choice(self.resources)
        self.last = resource
        method, path, name = self._aimed(resource) if chance.random() < 0.6 else self._odd(resource)
        query = {
            k: chance.choice(QUERIES[k])
            for k in chance.sample(sorted(QUERIES), chance.choice([0, 0, 1, 2, 4]))
        }
        if "watch" in query or "/watch/" in path:
            query["timeoutSeconds"] = "1"
        content, data = "application/json", None
        if method in ("POST", "PUT", "PATCH", "DELETE", "FOO"):
            body: Any = (
                twisted(self._body(resource, name if chance.random() < 0.8 else "f1"), chance)
                if chance.random() < 0.7
                else self._body(resource, name)
            )
            if method == "PATCH":
                content = chance.choice(PATCHES)
                if content.startswith("application/json-patch"):
                    body = [
                        {
                            "op": chance.choice(
                                ["add", "remove", "replace", "test", "copy", "move", "x"]
                            ),
                            "path": chance.choice(
                                [
                                    "/metadata/labels",
                                    "/spec",
                                    "/a/b",
                                    "",
                                    "x",
                                    "/metadata/finalizers/-",
                                    "/spec/~2",
                                ]
                            ),
                            "value": chance.choice(JUNK),
                            "from": chance.choice(["/spec", "/x", "", None]),
                        }
                    ]
            elif method == "DELETE":
                body = chance.choice(
                    [
                        None,
                        {},
                        {
                            "kind": "DeleteOptions",
                            "apiVersion": "v1",
                            "gracePeriodSeconds": chance.choice(JUNK),
                        },
                        {"preconditions": {"uid": chance.choice(JUNK)}},
                        body,
                    ]
                )
            elif chance.random() < 0.1:
                content = chance.choice(
                    [
                        "application/yaml",
                        "application/vnd.kubernetes.protobuf",
                        "text/plain",
                        "application/cbor",
                        ";",
                    ]
                )
            data = json.dumps(body).encode() if body is not None else None
            if data and chance.random() < 0.05:
                data = chance.choice(
                    [
                        data[: len(data) // 2],
                        b"[" * 5000,
                        b"\xff\xfe",
                        b"k8s\x00" + data,
                        b"{" + b'"a":' * 300,
                        data + data,
                    ]
                )
        return method, path, data, query, content, chance.choice(ACCEPTS)


class Fuzzer(Generator):
    """Sends them through the client, to a server in this process."""

    def __init__(self, server: LocalCluster, resources: list[Resource], seed: int) -> None:
        super().__init__(resources, seed)
        self.server = server
        self.clients = [server.client, server.client_as("jane")]
        self.codes: Counter[int] = Counter()
        self.failures: list[str] = []

    async def once(self) -> None:
        method, path, data, query, content, accept = self.request()
        client = self.clients[self.chance.random() < 0.1]
        said = f"{method} {path} {query} {content} {accept} {(data or b'')[:600]!r}"
        try:
            await client.request(method, path, data, query, content, 20, accept)
            self.codes[200] += 1
        except StatusError as error:
            self.codes[error.code] += 1
            if error.code >= 500 and error.code not in (503, 504):
                self.failures.append(f"{error.code} {error}: {said}")
        except Unreachable as error:
            self.failures.append(f"unreachable {error}: {said}")

    async def run(self, count: int, at_once: int = 16) -> None:
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self.once()

        await asyncio.gather(*(work() for _ in range(at_once)))

    async def clean(self) -> None:
        """Whatever is stored can be read and deleted."""
        for resource in self.resources:
            if not resource.stored or resource.plural in ("namespaces",):
                continue
            try:
                listed = json.loads(await self.server.client.request("GET", resource.path("")))[
                    "items"
                ]
            except StatusError as error:
                if error.code != 404:  # a definition was deleted, and its resource with it
                    raise
                continue
            for item in listed:
                meta = item["metadata"]
                one = resource.path(meta.get("namespace", ""), meta["name"])
                try:
                    if (
                        json.loads(await self.server.client.request("GET", one))["metadata"]["uid"]
                        != meta["uid"]
                    ):
                        self.failures.append(f"{one} is another when it is read alone")
                    if meta["name"].startswith("f"):
                        await self.server.client.request("DELETE", one, b'{"gracePeriodSeconds":0}')
                except StatusError as error:
                    if error.code not in (404, 409):
                        self.failures.append(
                            f"{one} cannot be read or deleted: {error.code} {error}"
                        )


async def fuzz(count: int, seed: int) -> Fuzzer:
    async with LocalCluster() as server:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await server.client.request(
            "POST", "/api/v1/namespaces/default/serviceaccounts", json.dumps(account).encode()
        )
        scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
        await established(server, definition(subresources={"status": {}, "scale": scale}))
        skipped = (
            "customresourcedefinitions",
            "apiservices",
            "validatingwebhookconfigurations",
            "mutatingwebhookconfigurations",
            "validatingadmissionpolicies",
            "mutatingadmissionpolicies",
        )
        resources = [
            r for r in server.server.registry.served if r.plural not in skipped or seed % 2
        ]
        fuzzer = Fuzzer(server, resources, seed)
        await fuzzer.run(count)
        await fuzzer.clean()
        return fuzzer


if __name__ == "__main__":
    made = asyncio.run(fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    print(dict(sorted(made.codes.items())))
    seen: Counter[str] = Counter()
    for line in made.failures:
        seen[line[:60]] += 1
        if seen[line[:60]] <= 2:
            print(line[:700])
    print(len(made.failures), "failures")
