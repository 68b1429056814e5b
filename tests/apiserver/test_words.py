"""What is told to those whose requests are wrong: statuses and sentences that clients and their
users know from upstream.

Each row was compared with a server of release 1.36."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.apiserver.builders import CRONS, call, cron, definition, established
from tests.apiserver.words import MAPS, invalid, told
from tests.builders import config_map
from tiphys.api import core_v1, rbac_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
YAML = "application/yaml"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


MATCH = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden"
INITIAL = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"


@pytest.mark.parametrize(
    ("method", "query", "expected"),
    [
        (
            "POST",
            "dryRun=x",
            invalid("CreateOptions", 'dryRun: Unsupported value: ["x"]: supported values: "All"'),
        ),
        (
            "POST",
            "fieldValidation=x",
            invalid(
                "CreateOptions",
                'fieldValidation: Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn"',
            ),
        ),
        (
            "POST",
            "fieldManager=" + "x" * 129,
            invalid("CreateOptions", "fieldManager: Too long: may not be more than 128 bytes"),
        ),
        (
            "POST",
            "fieldManager=%01",
            invalid(
                "CreateOptions",
                'fieldManager: Invalid value: "\\x01": invalid character U+0001 (at position 0)',
            ),
        ),
        (
            "DELETE",
            "dryRun=x",
            invalid("DeleteOptions", 'dryRun: Unsupported value: ["x"]: supported values: "All"'),
        ),
        ("GET", "limit=x", (400, 'strconv.ParseInt: parsing "x": invalid syntax')),
        ("GET", "timeoutSeconds=x", (400, 'strconv.ParseInt: parsing "x": invalid syntax')),
        ("GET", "limit=-1", (0, "")),
        (
            "GET",
            "resourceVersion=x",
            (
                400,
                'invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax',
            ),
        ),
        (
            "GET",
            "resourceVersionMatch=Exact",
            invalid("ListOptions", f"{MATCH} unless resourceVersion is provided"),
        ),
        (
            "GET",
            "resourceVersionMatch=Foo&resourceVersion=1",
            invalid(
                "ListOptions",
                'resourceVersionMatch: Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""',
            ),
        ),
        (
            "GET",
            "resourceVersionMatch=Exact&resourceVersion=0",
            invalid(
                "ListOptions",
                'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
            ),
        ),
        (
            "GET",
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
            invalid("ListOptions", f"{MATCH} when continue is provided"),
        ),
        (
            "GET",
            "sendInitialEvents=true",
            invalid(
                "ListOptions",
                "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
            ),
        ),
        (
            "GET",
            "watch=1&sendInitialEvents=true",
            invalid("ListOptions", f"resourceVersionMatch: Forbidden: {INITIAL}"),
        ),
        (
            "GET",
            "watch=1&resourceVersionMatch=NotOlderThan",
            invalid("ListOptions", f"{MATCH} for watch unless sendInitialEvents is provided"),
        ),
        (
            "GET",
            "fieldSelector=spec.a=1",
            (
                400,
                '"spec.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
            ),
        ),
        (
            "GET",
            "labelSelector=!!",
            (400, "unable to parse requirement: found '!', expected: identifier"),
        ),
    ],
)
async def test_options_are_checked_first(
    server: LocalCluster, method: str, query: str, expected: Any
) -> None:
    body = CONFIG if method == "POST" else None
    path = f"{MAPS}/a" if method == "DELETE" else MAPS
    assert await told(server, method, f"{path}?{query}", body) == expected


UNKNOWN = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
HANDLED = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (" ", UNKNOWN + "unexpected end of JSON input (20)"),
        ("{", UNKNOWN + "unexpected end of JSON input ({)"),
        ('{"a" 1}', UNKNOWN + "invalid character '1' after object key ({\"a\" 1})"),
        ('{"a":[1 2]}', UNKNOWN + "invalid character '2' after array element ({\"a\":[1 2]})"),
        (
            '{"a":1 "b":2}',
            UNKNOWN + 'invalid character \'"\' after object key:value pair ({"a":1 "b":2})',
        ),
        (
            "kind: ConfigMap",
            UNKNOWN
            + "invalid character 'k' looking for beginning of value (6b696e643a20436f6e6669674d6170)",
        ),
        (
            '{"kind":5}',
            UNKNOWN
            + 'json: cannot unmarshal number into Go struct field .kind of type string ({"kind":5})',
        ),
        (
            {**CONFIG, "data": {"a": 1}},
            HANDLED
            + "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            {**CONFIG, "data": [1]},
            HANDLED
            + "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            {**CONFIG, "metadata": 5},
            HANDLED
            + "json: cannot unmarshal number into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
        ),
        (
            {**CONFIG, "metadata": {"generation": 1.5}},
            HANDLED
            + "json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.metadata.generation of type int64",
        ),
        (
            {**CONFIG, "metadata": {"ownerReferences": [{"controller": "x"}]}},
            HANDLED
            + "json: cannot unmarshal string into Go struct field OwnerReference.metadata.ownerReferences.controller of type bool",
        ),
        (
            {**CONFIG, "kind": "Secret"},
            'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion',
        ),
    ],
)
async def test_unreadable_bodies_are_told_in_gos_words(
    server: LocalCluster, body: Any, message: str
) -> None:
    assert await told(server, "POST", MAPS, body) == (400, message)


async def test_a_custom_object_says_what_it_is(server: LocalCluster) -> None:
    await established(server, definition())
    kind = cron()
    missing = {name: value for name, value in kind.items() if name != "kind"}
    code, message = await told(server, "POST", CRONS, missing)
    assert code == 400 and message.startswith(
        "the object provided is unrecognized (must be of type CronTab): Object 'Kind' is missing in '{"
    )
    expected = (
        422,
        'Other.stable.example.com "a" is invalid: kind: Invalid value: "Other": must be CronTab',
    )
    assert await told(server, "POST", CRONS, {**kind, "kind": "Other"}) == expected
    listed = json.loads(await server.client.request("GET", CRONS))
    assert listed["metadata"]["continue"] == ""  # as upstream's lists of plain objects have it


@pytest.mark.parametrize("how", ["body", "query"])
async def test_a_dry_run_deletes_nothing(server: LocalCluster, how: str) -> None:
    await server.client.create(config_map("a"))
    body = (
        {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]} if how == "body" else None
    )
    query = {"dryRun": "All"} if how == "query" else None
    for path in (f"{MAPS}/a", MAPS):
        assert await told(server, "DELETE", path, body, query=query) == (0, "")
    assert await server.client.get(core_v1.ConfigMap, "a", "default")


@pytest.mark.parametrize("method", ["DELETE", "POST", "PUT", "PATCH"])
async def test_no_write_crosses_namespaces(server: LocalCluster, method: str) -> None:
    await server.client.create(config_map("a"))
    message = "the server does not allow this method on the requested resource"
    assert await told(server, method, "/api/v1/configmaps", CONFIG, content=MERGE) == (405, message)
    await established(server, definition())
    code, _ = await told(server, method, "/apis/stable.example.com/v1/crontabs", cron())
    assert code == 404
    assert await server.client.get(core_v1.ConfigMap, "a", "default")


async def test_to_create_by_put_or_apply_takes_the_right_to_create(server: LocalCluster) -> None:
    rule = rbac_v1.PolicyRule(
        verbs=["get", "update", "patch"], api_groups=["", "coordination.k8s.io"], resources=["*"]
    )
    await server.client.create(
        rbac_v1.Role(metadata=ObjectMeta(name="edit", namespace="default"), rules=[rule])
    )
    binding = rbac_v1.RoleBinding(metadata=ObjectMeta(name="jane", namespace="default"))
    binding.role_ref = rbac_v1.RoleRef(
        api_group="rbac.authorization.k8s.io", kind="Role", name="edit"
    )
    binding.subjects = [rbac_v1.Subject(kind="User", name="jane")]
    await server.client.create(binding)
    jane, apply = server.client_as("jane"), "application/apply-patch+yaml"
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}}
    for method, path, body, content in (
        ("PATCH", f"{MAPS}/a?fieldManager=m", CONFIG, apply),
        ("PUT", f"{leases}/a", lease, "application/json"),
    ):
        with pytest.raises(StatusError) as error:
            await jane.request(method, path, json.dumps(body).encode(), content=content)
        assert error.value.code == 403 and "cannot create resource" in error.value.status.message


async def test_yaml_reads_as_upstreams(server: LocalCluster) -> None:
    await call(
        server,
        "POST",
        MAPS,
        {**CONFIG, "data": {"n": "5", "y": "yes", "two": "a\nb\n", "plain": "x y"}},
    )
    text = (await server.client.request("GET", f"{MAPS}/a", accept=YAML)).decode()
    assert 'data:\n  "n": "5"\n  plain: x y\n  two: |\n    a\n    b\n  "y": "yes"\n' in text


async def test_long_addresses_and_headers_are_read_and_what_is_no_request_is_not_told_of(
    server: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server.client.config.ssl_context()
    labels = ",".join(f"a{number}=b" for number in range(5000))
    found = json.loads(
        await server.client.request("GET", "/api/v1/pods", query={"labelSelector": labels})
    )
    assert found["kind"] == "PodList"
    long = {"X-Long": "a" * 100_000}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.get(f"{server.url}/version", headers=long) as answer,
    ):
        assert answer.status == 200
    port = int(server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost"
    )
    writer.write(b"NONSENSE\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 400")
    writer.close()
    assert "Traceback" not in caplog.text and not caplog.records
