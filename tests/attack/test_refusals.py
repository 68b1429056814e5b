"""Small requests whose refusals would be vast: each of many broken rules shows something large."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.builders import call, definition, established
from tests.attack.wire import ask
from tests.fuzz.target import LONGEST_HOLD
from tiphys.api import core_v1
from tiphys.machinery import protobuf
from tiphys.machinery.protobuf.wire import WireError
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CRONTABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
HELD = 4 * LONGEST_HOLD  # the test's own work is done on the same loop
MOST = 2 << 20  # bytes of an answer to any of these
NAME = "k" * 20_000


def owned(owners: int) -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": "Pod", "controller": True}
    references = [{**reference, "name": f"p{n}", "uid": f"u{n}"} for n in range(owners)]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "ownerReferences": references},
    }


def hook_at(path: str) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [
            {
                "name": "a.b.c",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"service": {"name": "a", "namespace": "b", "path": path}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{MAPS}?fieldManager={'%01' * 3000}", owned(0)),
        (MAPS, owned(500)),
        (HOOKS, hook_at("/_" * 5000)),
    ],
    ids=["a manager's characters", "owners", "segments of a path"],
)
async def test_a_refusal_says_no_more_than_fits_into_an_answer(
    server: LocalCluster, path: str, body: dict[str, Any]
) -> None:
    """They were 90, 48 and 100 MB: ten times the request, a hundred times the answer."""
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    answer = await ask(server.client, "POST", path, body=body)
    assert answer.status == 422
    assert len(answer.body) < MOST
    assert watchdog.longest < HELD, watchdog.during


TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
KINDS = {
    "maps": {"type": "object", "additionalProperties": TEXTS},
    "known": {
        "type": "object",
        "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}},
    },
    "chosen": {
        "type": "array",
        "items": {"type": "string", "enum": [f"value-{n}" for n in range(20_000)]},
    },
}


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("", {"maps": {NAME: {f"a{n}": 1 for n in range(3000)}}}),
        ("?fieldValidation=Strict", {"known": {NAME: {f"b{n}": 1 for n in range(3000)}}}),
        ("", {"chosen": ["none"] * 3000}),
    ],
    ids=["types below a long key", "unknown fields below a long key", "values to choose from"],
)
async def test_nor_does_the_refusal_of_a_custom_resource(
    server: LocalCluster, query: str, content: dict[str, Any]
) -> None:
    """They were 240 and 60 MB, and 20 seconds in which nobody else was served."""
    schema = {"openAPIV3Schema": {"type": "object", "properties": KINDS}}
    await established(server, definition(schema=schema))
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    named = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"}}
    answer = await ask(server.client, "POST", CRONTABS + query, body={**named, **content})
    assert answer.status == (400 if query else 422)
    assert len(answer.body) < MOST
    assert watchdog.longest < HELD, watchdog.during


async def test_conflicts_of_an_apply_are_named_as_far_as_they_fit(server: LocalCluster) -> None:
    def config(value: str) -> dict[str, Any]:
        entries = {f"{'k' * 200}-{n}": value for n in range(3000)}
        metadata = {"name": "a"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": entries}

    async def apply(manager: str, value: str) -> Any:
        path = f"{MAPS}/a?fieldManager={manager}"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return await ask(server.client, "PATCH", path, headers=headers, body=config(value))

    assert (await apply("one", "1")).status == 201
    refused = await apply("two", "2")
    assert refused.json["message"].startswith("Apply failed with 3000 conflicts: ")
    causes = refused.json["details"]["causes"]
    assert 1000 < len(causes) < 3000
    assert causes[-1]["message"] == "too many conflicts, the list is truncated"


@pytest.mark.parametrize(("last", "allowed"), [("system:masters", True), ("nobody", False)])
async def test_very_many_groups_are_looked_through_where_nobody_waits(
    server: LocalCluster, last: str, allowed: bool
) -> None:
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    attributes = {"verb": "get", "resource": "pods"}
    groups = [*(f"g{n:x}" for n in range(300_000)), last]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": "x", "groups": groups, "resourceAttributes": attributes},
    }
    answer = await call(server, "POST", REVIEWS, review)
    assert answer["status"]["allowed"] is allowed
    assert watchdog.longest < HELD, watchdog.during


async def test_a_token_for_very_many_audiences_is_signed_elsewhere(server: LocalCluster) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await call(server, "POST", accounts, account)
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [f"a{n}" for n in range(150_000)]},
    }
    issued = await call(server, "POST", f"{accounts}/a/token", request)
    assert issued["status"]["token"]
    assert watchdog.longest < HELD, watchdog.during


# --- small bodies, large objects ---


@pytest.mark.parametrize(
    ("item", "code"),
    [({}, 413), ("{}", 422)],
    ids=["objects", "texts with braces"],
)
async def test_a_body_has_a_bound_of_objects(server: LocalCluster, item: Any, code: int) -> None:
    """A million containers that say nothing took ten seconds and two gigabytes."""
    metadata = {"name": "a", "finalizers": [item] * 160_000}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    answer = await ask(server.client, "POST", MAPS, body=body, seconds=60)
    assert answer.status == code


def test_a_list_in_protobuf_has_a_bound() -> None:
    with pytest.raises(WireError, match="more than 150000 items"):
        protobuf.decode(b"\x12\x00" * 150_001, core_v1.PodSpec)


async def test_defaults_make_no_object_larger_than_any_may_be(server: LocalCluster) -> None:
    """Seven thousand empty objects of three bytes got seventy megabytes."""
    text = {"type": "string", "default": "x" * 10_000}
    item = {"type": "object", "properties": {"text": text}}
    listed = {"type": "array", "items": item}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"listed": listed}}}
    await established(server, definition(schema=schema))
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    named = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"}}
    answer = await ask(server.client, "POST", CRONTABS, body={**named, "listed": [{}] * 7000})
    assert answer.json["message"] == "etcdserver: request is too large"
    assert watchdog.longest < HELD, watchdog.during
