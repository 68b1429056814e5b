"""Small requests that cost much: expressions over small objects, lists that are compared, bindings,
history, handshakes."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.apiserver.builders import call, definition, established
from tests.attack.wire import ask
from tests.fuzz.target import LONGEST_HOLD
from tiphys.api import core_v1
from tiphys.apiserver.eventloop import aside
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.client import listening
from tiphys.machinery import patience
from tiphys.machinery.cel import Budget, CelError, OutOfBudget
from tiphys.machinery.cel.values import CostExceeded
from tiphys.machinery.errors import StatusError
from tiphys.store.cache import Limits, ResourceCache
from tiphys.store.engine import Change
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CUBED = "object.data.all(a, object.data.all(b, object.data.all(c, c != a + 'x')))"


@pytest.fixture
def held(server: LocalCluster) -> Callable[[], float]:
    """The longest that the loop has been held, in seconds of processor time."""
    seen = server.server.server.watchdog
    seen.longest = 0.0
    return lambda: seen.longest


def config(entries: int = 1, **metadata: Any) -> dict[str, Any]:
    data = {f"k{number}": "v" for number in range(entries)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", **metadata},
        "data": data,
    }


async def under_policy(server: LocalCluster, expressions: list[str], **spec: Any) -> None:
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    spec |= {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": e} for e in expressions],
    }
    named = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p"}}
    policy = {**named, "kind": "ValidatingAdmissionPolicy", "spec": spec}
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    binding = {**named, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound}
    await call(server, "POST", f"{ADMISSION}/validatingadmissionpolicies", policy)
    await call(server, "POST", f"{ADMISSION}/validatingadmissionpolicybindings", binding)


async def refusal(server: LocalCluster, body: dict[str, Any], path: str = MAPS) -> str:
    with pytest.raises(StatusError) as raised:
        await call(server, "POST", path, body)
    return str(raised.value)


# --- expressions ---


async def test_an_expression_over_a_small_object_leaves_the_loop(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    await under_policy(server, [CUBED])
    assert len(json.dumps(config(400))) < aside.LARGE
    assert "actual cost limit exceeded" in await refusal(server, config(400))
    assert held() < 2 * LONGEST_HOLD


@pytest.mark.slow
async def test_match_conditions_leave_the_loop_and_have_a_budget_of_their_own(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    conditions = [
        {"name": f"c{number}", "expression": f"{CUBED} || {number} == -1"} for number in range(9)
    ]
    await under_policy(server, ["true"], matchConditions=conditions)
    assert "running out of cost budget" in await refusal(server, config(44))
    assert held() < 2 * LONGEST_HOLD


async def test_a_rule_of_a_custom_resource_leaves_the_loop(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    rule = {"rule": "self.l.all(a, self.l.all(b, self.l.all(c, c != a + 1000)))"}
    numbers = {"type": "array", "maxItems": 100, "items": {"type": "integer"}}
    spec = {"type": "object", "properties": {"l": numbers}, "x-kubernetes-validations": [rule]}
    schema = {"type": "object", "properties": {"spec": spec}}
    await established(server, definition(schema={"openAPIV3Schema": schema}))
    cron = {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"}}
    cron["spec"] = {"l": list(range(100))}
    told = await refusal(server, cron, "/apis/stable.example.com/v1/namespaces/default/crontabs")
    assert "call cost exceeds limit for rule" in told and held() < 2 * LONGEST_HOLD


@pytest.mark.parametrize(
    "expression",
    [
        "lists.range(900000).map(x, x).size() > 0",
        "lists.range(2000).distinct().size() > 0",
        "sets.contains(lists.range(2000), lists.range(2000))",
        "lists.range(2000).all(x, !(-1 in lists.range(1000)))",
        "'a'.replace('', 'b'.replace('', l)) == ''",
        "l.matches(l)",
    ],
)
def test_what_a_call_takes_is_charged_before_it_is_done(expression: str) -> None:
    with pytest.raises(CostExceeded):
        Budget().run(
            expression, {"l": "x" * 8000 if "replace" not in expression else "x" * 20_000_000}
        )


def test_variables_that_double_end_at_the_budget() -> None:
    budget, value = Budget(), "x" * 1000
    with pytest.raises(OutOfBudget):
        while True:
            value = budget.run("v + v", {"v": value}) if len(value) < 4_000_000 else value[:1000]
    assert budget.left <= 0


def test_nothing_absorbs_the_end_of_an_allowance() -> None:
    with pytest.raises(patience.Unfinished), patience.Brief():
        Budget().run("lists.range(9000).all(x, x < 0 && x > 0) || true", {})
    with pytest.raises(CelError):
        Budget().run("1 / 0 == 1", {})


# --- what grows with the square, or without end ---


async def test_twenty_thousand_owners_are_compared_in_no_time(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{n}", "uid": f"u{n}"} for n in range(20_000)
    ]
    await call(server, "POST", MAPS, config(ownerReferences=owners))
    assert held() < 2 * LONGEST_HOLD


async def test_a_long_path_is_decoded_elsewhere(
    server: LocalCluster, held: Callable[[], float]
) -> None:
    with pytest.raises(StatusError) as raised:
        await server.client.request("GET", "/api/v1/" + "a%2e" * 60_000)
    assert raised.value.code == 404 and held() < 2 * LONGEST_HOLD


@pytest.mark.parametrize(
    "token",
    [{"rv": 10**400}, {"rv": 1 << 63}, {"rv": "1"}, {"rv": 1.5}, {"start": 5}, {"rv": True}],
)
async def test_a_forged_continue_token_is_refused(
    server: LocalCluster, token: dict[str, Any]
) -> None:
    forged = json.dumps({"v": "meta.k8s.io/v1", "rv": 1, "start": "x", **token}).encode()
    with pytest.raises(StatusError) as raised:
        await server.client.request(
            "GET", MAPS, query={"continue": base64.urlsafe_b64encode(forged).decode().rstrip("=")}
        )
    assert raised.value.code == 400 and "continue key is not valid" in str(raised.value)


def changed(made: ResourceCache, revision: int, size: int = 1) -> None:
    value = json.dumps(
        {"metadata": {"name": "a"}, "data": {"x": "y" * size}}, separators=(",", ":")
    ).encode()
    made.apply(Change(revision, "/r/ns/a", value, 0))


def test_history_is_bounded_in_bytes_whatever_one_object_weighs() -> None:
    made = ResourceCache("/r/", (), 0, Limits(size=3 << 20, recent_size=1 << 20))
    for revision in range(1, 400):
        changed(made, revision, 1 << 15)
    kept = sum(event.size for event in made.events)
    shown = sum(event.size for event in made.events if event.line("MODIFIED") and event.lines)
    assert kept <= 3 << 20 and 0 < shown <= 1 << 20


def test_large_history_is_still_enough_for_whoever_keeps_up() -> None:
    made = ResourceCache("/r/", (), 0, Limits(size=1 << 10))
    for revision in range(1, 100):
        changed(made, revision, 1 << 10)
    assert len(made.events) == Limits().fewest and made.events[-1].revision == 99


def test_a_change_is_decoded_alone() -> None:
    made = ResourceCache("/r/", (), 0)
    changed(made, 1)
    mirror = Mirror(made, core_v1.ConfigMap)
    assert [key for key, _ in mirror.refresh()[1]] == ["/r/ns/a"] and mirror.refresh() == ([], [])
    changed(made, 2, 3)
    gone, come = mirror.refresh()
    assert [obj.data["x"] for _, obj in (*gone, *come)] == ["y", "yyy"]
    made.apply(Change(3, "/r/ns/a", None, 0))
    assert len(mirror.refresh()[0]) == 1 and list(mirror) == []


# --- handshakes ---


async def test_connections_that_do_not_speak_keep_out_nobody_and_are_closed(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_SWEEP", 0.05)
    listener = next(iter(server.server._runner.sites))._listener
    monkeypatch.setattr(listener, "_seconds", 0.3)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    await server.eventually(lambda: len(listener._silent) > 0)
    await server.client.request("GET", "/livez")
    await server.eventually(lambda: not listener._silent)
    for one in silent:
        one.settimeout(5)
        assert await asyncio.to_thread(one.recv, 1) == b""
        one.close()


async def test_a_rush_of_handshakes_begins_a_few_at_a_time(server: LocalCluster) -> None:
    handshakes = next(iter(server.server._runner.sites))._handshakes
    most = 0

    async def connect() -> None:
        nonlocal most
        tls = server.client.config.ssl_context()
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, ssl=tls, server_hostname="localhost"
        )
        most = max(most, handshakes._under_way)
        writer.transport.abort()

    await asyncio.gather(*(connect() for _ in range(100)))
    assert 0 < most <= listening._UNDER_WAY
    await server.eventually(lambda: handshakes._under_way == 0)


async def test_a_large_answer_of_a_deletion_is_written_in_pieces(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = []
    take = server.server.registry.turns.take
    monkeypatch.setattr(
        server.server.registry.turns, "take", lambda flow: pieces.append(flow) or take(flow)
    )
    for number in range(3):
        body = {**config(), "metadata": {"name": f"a{number}"}, "data": {"x": "y" * 600_000}}
        await call(server, "POST", MAPS, body)
    deleted = await call(server, "DELETE", MAPS)
    assert len(deleted["items"]) == 3 and len(pieces) > 3


SCHEMES = "application/json;" + "a=b;" * 100_000


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/v1/namespaces?timeout=" + "1h" * 400_000, {}),
        ("/api/v1/namespaces", {"Accept": "a/b;q=0.1," * 90_000}),
        ("/livez/" + "a/" * 400_000, {}),
        ("/api/v1/namespaces", {"Authorization": f"Bearer {'a.' * 400_000}"}),
        ("/api/v1/namespaces", {"Accept": SCHEMES, "Content-Type": SCHEMES}),
    ],
)
async def test_what_a_head_says_at_length_holds_nobody(
    server: LocalCluster, held: Callable[[], float], path: str, headers: dict[str, str]
) -> None:
    answer = await ask(server.client_as("jane"), "GET", path, headers)
    assert answer.status in (400, 401, 403, 404)
    answer = await ask(server.client, "GET", path, headers)
    assert answer.status in (200, 400, 401, 404, 406)
    assert held() < LONGEST_HOLD
