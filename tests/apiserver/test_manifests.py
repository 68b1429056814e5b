"""What real projects' definitions and samples brought to light: upstream's server answers them so."""

from __future__ import annotations

import copy
from typing import Any

import aiohttp
import pytest

from tests.apiserver.builders import CRDS, CRONS, call, cron, definition, established, refused
from tests.apiserver.kit import warnings_of
from tiphys.client.client import APPLY
from tiphys.testing import LocalCluster

PENDING = {"type": "Accepted", "status": "Unknown", "reason": "Pending"}
FREE = {"x-kubernetes-preserve-unknown-fields": True}
APPROVED = "api-approved.kubernetes.io"


def schema(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    properties = {
        "spec": {"type": "object", "properties": {"cronSpec": {"type": "string"}, **spec}}
    }
    if status is not None:
        properties["status"] = status
    return {"schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}


async def test_a_new_object_has_the_default_status(server: LocalCluster) -> None:
    items = {"type": "array", "items": {"type": "object", **FREE}}
    status = {
        "type": "object",
        "default": {"conditions": [PENDING]},
        "properties": {"conditions": items},
    }
    await established(server, definition(subresources={"status": {}}, **schema(status)))
    made = await call(server, "POST", CRONS, cron(status={"conditions": []}))
    assert (
        made["status"]
        == {"conditions": [PENDING]}
        == (await call(server, "GET", f"{CRONS}/a"))["status"]
    )


async def test_a_dry_run_shows_defaults_of_the_stored_version(server: LocalCluster) -> None:
    both = definition(**schema(depth={"type": "integer", "default": 3}))
    newer = {"name": "v2", "served": True, "storage": False, **schema(depth={"type": "integer"})}
    both["spec"]["versions"].append(newer)
    await established(server, both)
    path = CRONS.replace("/v1/", "/v2/")
    body = {**cron(), "apiVersion": "stable.example.com/v2"}
    tried = await call(server, "POST", path, body, dryRun="All")
    assert tried["spec"]["depth"] == 3 and tried["apiVersion"] == "stable.example.com/v2"
    assert (await call(server, "POST", path, body))["spec"] == tried["spec"]


async def test_a_dry_run_minds_no_version(server: LocalCluster) -> None:
    await established(server, definition())
    body = cron()
    body["metadata"]["resourceVersion"] = "7"
    assert await call(server, "POST", CRONS, body, dryRun="All")
    assert (await refused(call(server, "POST", CRONS, body))).code == 400


async def test_any_value_may_be_applied_where_the_schema_names_no_type(
    server: LocalCluster,
) -> None:
    await established(
        server, definition(**schema(data={"type": "object", "additionalProperties": FREE}))
    )
    data = {"number": 1, "text": "x", "list": [1], "map": {"deep": {"er": True}}}
    made = await call(
        server, "PATCH", f"{CRONS}/a", cron(spec={"data": data}), APPLY, fieldManager="m"
    )
    assert made["spec"]["data"] == data
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:data"]
    deep = {".": {}, "f:deep": {".": {}, "f:er": {}}}
    assert owned == {"f:number": {}, "f:text": {}, "f:list": {}, "f:map": deep}


async def test_nothing_is_applied_to_an_object_that_is_gone(server: LocalCluster) -> None:
    await established(server, definition())
    body = cron()
    body["metadata"]["uid"] = "12345"
    error = await refused(call(server, "PATCH", f"{CRONS}/a", body, APPLY, fieldManager="m"))
    assert error.code == 409
    assert (
        "uid mismatch: the provided object specified uid 12345, and no existing object was found"
        in str(error)
    )


@pytest.mark.parametrize(
    ("value", "reason", "status"),
    [
        ("https://example.com/1", "ApprovedAnnotation", "True"),
        ("unapproved, a test", "UnapprovedAnnotation", "False"),
    ],
)
async def test_a_definition_says_whether_its_group_was_approved(
    server: LocalCluster, value: str, reason: str, status: str
) -> None:
    crd = definition()
    crd["spec"]["group"] = "stable.k8s.io"
    crd["metadata"] = {"name": "crontabs.stable.k8s.io", "annotations": {APPROVED: value}}
    conditions = (await established(server, crd))["status"]["conditions"]
    review = next(c for c in conditions if c["type"] == "KubernetesAPIApprovalPolicyConformant")
    assert (review["reason"], review["status"]) == (reason, status) and value in review["message"]
    unset = copy.deepcopy(await call(server, "GET", f"{CRDS}/crontabs.stable.k8s.io"))
    del unset["metadata"]["annotations"]
    error = await refused(call(server, "PUT", f"{CRDS}/crontabs.stable.k8s.io", unset))
    assert f"metadata.annotations[{APPROVED}]: Required value: protected groups must" in str(error)


@pytest.mark.parametrize(
    ("facts", "value", "says"),
    [
        (
            {"type": "array", "items": FREE, "maxItems": 1},
            [1, 2],
            "Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "array", "items": FREE, "minItems": 1},
            [],
            "Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            {"type": "object", "additionalProperties": FREE, "minProperties": 1},
            {},
            "Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        ({"type": "string", "maxLength": 1}, "xx", "Too long: may not be more than 1 byte"),
        (
            {"type": "string", "minLength": 1, "pattern": "x"},
            "",
            "spec.x in body should be at least 1 chars long",
        ),
        ({"type": "string", "enum": ["", "b", "a"]}, "c", 'supported values: "", "b", "a"'),
    ],
)
async def test_a_broken_rule_is_told_as_upstream_does(
    server: LocalCluster, facts: Any, value: Any, says: str
) -> None:
    await established(server, definition(**schema(x=facts)))
    error = await refused(call(server, "POST", CRONS, cron(spec={"x": value})))
    causes = error.status.details.causes  # type: ignore[union-attr]
    assert [cause.message.endswith(says) for cause in causes] == [True]


async def test_a_null_is_no_value_whatever_the_type(server: LocalCluster) -> None:
    shape = schema(x=FREE)
    shape["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] = ["x"]
    await established(server, definition(**shape))
    assert "spec.x: Required value" in str(
        await refused(call(server, "POST", CRONS, cron(spec={"x": None})))
    )


@pytest.mark.parametrize(
    ("finalizer", "says"),
    [
        (
            "hold.example.com",
            "prefer a domain-qualified finalizer name including a path (/) to avoid",
        ),
        ("hold", "prefer a domain-qualified finalizer name to avoid"),
        ("example.com/hold", ""),
        ("orphan", ""),
    ],
)
async def test_a_finalizer_without_a_domain_is_taken_with_a_warning(
    server: LocalCluster, finalizer: str, says: str
) -> None:
    await established(server, definition())
    body = cron()
    body["metadata"]["finalizers"] = [finalizer]
    warnings = await warnings_of(server, "POST", CRONS, body)
    assert [
        text.startswith(f'metadata.finalizers: "{finalizer}": {says}') for text in warnings
    ] == [True] * bool(says)
    made = await call(server, "GET", f"{CRONS}/a")
    assert not await warnings_of(server, "PUT", f"{CRONS}/a", made)


async def test_a_failure_is_written_as_upstream_writes_it(server: LocalCluster) -> None:
    tls = server.client.config.ssl_context()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/api/v1/nodes/none", ssl=tls) as answer,
    ):
        text = await answer.text()
    assert (
        text.startswith('{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",')
        and text[-1] == "\n"
    )


async def test_an_old_version_names_the_one_to_use(server: LocalCluster) -> None:
    old = {"name": "v1beta1", "served": True, "storage": False, "deprecated": True, **schema()}
    crd = definition(**schema())
    crd["spec"]["versions"].append(old)
    await established(server, crd)
    said = "stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab"
    assert await warnings_of(server, "GET", CRONS.replace("/v1/", "/v1beta1/")) == [said]
