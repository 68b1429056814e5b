"""What the server remembers of those who ask: little, however long what they say is, and however
many different things they say. Strangers are heard before anybody knows who they are."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from tests.attack.wire import ask
from tiphys.api.catalog import RESOURCES
from tiphys.apiserver.audit.policy import Policy, Rules
from tiphys.apiserver.http.request import parse
from tiphys.apiserver.registry import ownership
from tiphys.machinery import addresses, patience, regexp, selectors, timestamps
from tiphys.machinery.cel import compile_expression
from tiphys.testing import LocalCluster

CLAIMS = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
LONG = "a" * 500_000
PATHS = (f"/{LONG}", f"/apis/{LONG}/v1/pods", f"/api/v1/namespaces/{LONG}/pods")
VAST = r"\pL{400}"  # 480,000 instructions of RE2
PODS = next(resource for resource in RESOURCES if resource.plural == "pods")


async def test_the_paths_that_strangers_ask_for_are_not_remembered(server: LocalCluster) -> None:
    stranger = server.client_as("stranger")
    for path in ("/livez", *PATHS):
        assert (await ask(stranger, "GET", path)).status in (200, 403, 404)
    flows = server.server.server.fairness._known
    answers = server.server.server._authorizer._known.get().answers
    for known in (flows, answers):
        assert any("/livez" in key for key in known)
        assert max(len(repr(key)) for key in known) < 5_000


async def test_users_of_very_many_groups_are_not_remembered(server: LocalCluster) -> None:
    groups = [f"group-{number}" for number in range(5_000)]
    spec = {"user": "x", "groups": groups, "nonResourceAttributes": {"path": "/", "verb": "get"}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    assert (await ask(server.client, "POST", REVIEWS, body=review)).status == 201
    known = server.server.server._authorizer._known.get()
    assert all(len(key[1]) < 100 for key in (*known.granted, *known.answers))


def test_nor_does_an_audit_policy_remember_them() -> None:
    rules = Rules(Policy())
    for path in PATHS:
        rules.applied_to(None, parse("GET", path, {}))
    assert not rules._known


def _requirements(number: int) -> str:
    return ",".join(f"a{n}" for n in range(60)) + f",b{number}"


def _spec_fields(text: str) -> None:
    ports = [{"containerPort": n + 1} for n in range(100)]
    spec = {"containers": [{"name": text, "image": "i", "ports": ports}]}
    ownership._spec_fields_of(PODS, json.dumps(spec).encode())


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (addresses.parsed, lambda number: f"{number}." * 2_000),
        (timestamps.parse, lambda number: f"{number}-" * 2_000),
        (selectors.parse_labels, _requirements),
        (compile_expression, lambda number: f"[{','.join('1' * 80)},{number}].size() > 0"),
        (_spec_fields, lambda number: f"c{number}"),
    ],
)
def test_what_is_said_only_once_takes_no_memory_in_the_long_run(
    read: Callable[[str], Any], text: Callable[[int], str]
) -> None:
    tracemalloc.start()
    for number in range(70):
        read(text(number))
    before, _ = tracemalloc.get_traced_memory()
    for number in range(70, 140):
        read(text(number))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < before / 10 + 100_000


def _claim(patterns: int) -> dict[str, Any]:
    expression = " || ".join(f"'a'.matches(r'{VAST}{'b' * n}')" for n in range(patterns))
    wanted = {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": expression}}]}
    requests = [{"name": f"r{number}", "exactly": wanted} for number in range(32)]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "c"},
        "spec": {"devices": {"requests": requests}},
    }


@pytest.mark.parametrize("patterns", [1, 40])
async def test_vast_expressions_of_a_claim_take_neither_time_nor_memory(
    server: LocalCluster, patterns: int
) -> None:
    began = time.process_time()
    answer = await ask(server.client, "POST", CLAIMS, body=_claim(patterns), seconds=60)
    assert answer.status == 422
    assert "invalid matches argument" in answer.json["message"]
    assert time.process_time() - began < 2.0


def test_a_large_expression_is_compiled_where_nobody_waits() -> None:
    with patience.Brief(), pytest.raises(patience.Unfinished):
        regexp.compiled(r"\pL{19}")
    assert regexp.compiled(r"\pL{19}").search("é" * 19)


def test_expressions_of_one_object_have_a_limit_together() -> None:
    with regexp.Together(), pytest.raises(regexp.RegexpError, match="too large together"):
        for number in range(400):
            regexp.compiled(f".{{{900 - number % 50}}}{number}")
    assert regexp.compiled(".{899}-") is not None
