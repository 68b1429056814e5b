"""Flows and their seats."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest

from tests.apiserver.builders import call
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.access.prioritylevel import Flow, Level
from tiphys.apiserver.http.request import User, parse
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
FLOW, LEVEL = "X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"


def fairness_of(server: LocalCluster) -> Fairness:
    return server.server.server.fairness


@pytest.mark.parametrize(
    ("user", "groups", "path", "schema", "level"),
    [
        ("admin", ("system:masters",), "/api/v1/pods", "exempt", "exempt"),
        ("jane", ("system:authenticated",), "/healthz", "probes", "exempt"),
        ("jane", ("system:authenticated",), "/api/v1/pods", "global-default", "global-default"),
        (
            "system:node:n",
            ("system:nodes", "system:authenticated"),
            "/api/v1/nodes/n/status",
            "system-node-high",
            "node-high",
        ),
        (
            "system:node:n",
            ("system:nodes", "system:authenticated"),
            "/api/v1/pods",
            "system-nodes",
            "system",
        ),
        (
            "system:kube-scheduler",
            ("system:authenticated",),
            "/api/v1/pods",
            "kube-scheduler",
            "workload-high",
        ),
        (
            "system:serviceaccount:kube-system:x",
            ("system:serviceaccounts", "system:authenticated"),
            "/api/v1/pods",
            "kube-system-service-accounts",
            "workload-high",
        ),
        (
            "system:serviceaccount:a:x",
            ("system:serviceaccounts", "system:authenticated"),
            "/api/v1/pods",
            "service-accounts",
            "workload-low",
        ),
    ],
)
async def test_requests_belong_to_flows(
    server: LocalCluster, user: str, groups: tuple[str, ...], path: str, schema: str, level: str
) -> None:
    flow = fairness_of(server).flow_of(User(user, groups), parse("GET", path, {}))
    assert (flow.schema, flow.level.name) == (schema, level)


async def test_kinds_of_requests_share_a_flow_and_long_ones_leave_nothing(
    server: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiphys.apiserver.access.fairness._MOST_KNOWN", 3)
    fairness = fairness_of(server)
    fairness._forget()
    jane = User("jane", ("system:authenticated",))
    paths = [f"/api/v1/namespaces/n{number}/pods" for number in range(3)]
    flows = {id(fairness.flow_of(jane, parse("GET", path, {}))) for path in paths}
    assert (len(flows), len(fairness._known), len(fairness._flows)) == (1, 3, 1)
    fairness.flow_of(jane, parse("GET", f"/api/v1/namespaces/{'n' * 100_000}/pods", {}))
    assert (len(fairness._known), len(fairness._flows)) == (3, 1)
    for path in ("/a", "/b"):
        fairness.flow_of(jane, parse("GET", path, {}))
    assert len(fairness._known) == 1, "they are forgotten when there are too many"


async def test_the_answer_tells_the_flow(server: LocalCluster) -> None:
    plc = {
        "apiVersion": GROUP[6:],
        "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "mine"},
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}},
        },
    }
    level = await call(server, "POST", f"{GROUP}/prioritylevelconfigurations", plc)
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "jane"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    body = {
        "apiVersion": GROUP[6:],
        "kind": "FlowSchema",
        "metadata": {"name": "mine"},
        "spec": {
            "matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "mine"},
            "rules": [rule],
        },
    }
    schema = await call(server, "POST", f"{GROUP}/flowschemas", body)
    config = server.client_as("jane").config
    tls: ssl.SSLContext = config.ssl_context()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        async with session.get(f"{server.url}/version") as answer:
            assert answer.headers[FLOW] == schema["metadata"]["uid"]
            assert answer.headers[LEVEL] == level["metadata"]["uid"]
        async with session.get(f"{server.url}/metrics") as answer:
            assert answer.status == 403 and answer.headers[FLOW] == schema["metadata"]["uid"]


def crowd(server: LocalCluster, queues: int, length: int = 2) -> tuple[Fairness, Flow]:
    """A level of one seat that may not borrow."""
    from collections import deque

    level = Level(
        "small",
        nominal=1,
        borrowing=0,
        hand=1,
        length=length,
        queues=[deque() for _ in range(queues)],
    )
    fairness = Fairness(server.server.store)
    fairness.levels["small"] = level
    return fairness, Flow("s", level, "s/jane", ())


async def test_who_finds_no_seat_waits_for_one(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 1)
    assert fairness.enter(flow.level) and not fairness.enter(flow.level)
    first, second = (asyncio.ensure_future(fairness.queue(flow)) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(StatusError) as full:
        await fairness.queue(flow)
    assert (full.value.code, full.value.status.details.retry_after_seconds) == (429, 1)  # type: ignore[union-attr]
    fairness.leave(flow.level)
    await first
    assert not second.done() and flow.level.used == 1
    fairness.leave(flow.level)
    await second
    fairness.leave(flow.level)
    assert (flow.level.used, flow.level.waiting, flow.level.refused) == (0, 0, 1)


async def test_who_goes_away_while_waiting_leaves_no_seat_taken(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 1)
    fairness.enter(flow.level)
    waiting = asyncio.ensure_future(fairness.queue(flow))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    fairness.leave(flow.level)
    assert (flow.level.used, flow.level.waiting) == (0, 0) and fairness.enter(flow.level)


async def test_without_queues_there_is_no_waiting(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 0)
    fairness.enter(flow.level)
    with pytest.raises(StatusError):
        await fairness.queue(flow)


async def test_seats_that_nobody_needs_are_lent(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 1)
    flow.level.borrowing = 10
    fairness.levels["rich"] = Level("rich", nominal=4, lendable=2)
    assert [fairness.enter(flow.level) for _ in range(4)] == [True, True, True, False]


async def test_large_lists_leave_half_of_a_level_to_what_is_small(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 1, length=50)
    level = flow.level
    level.nominal = 20
    assert [fairness.enter(level, 5) for _ in range(3)] == [True, True, False]
    waiting = asyncio.ensure_future(fairness.queue(flow, 5))
    await asyncio.sleep(0)
    assert [fairness.enter(level) for _ in range(11)] == [True] * 10 + [False]
    fairness.leave(level, 5)
    await waiting
    assert (level.used, level.wide) == (20, 10)


async def test_what_needs_more_seats_than_there_are_is_served_alone(server: LocalCluster) -> None:
    fairness, flow = crowd(server, 1)
    assert fairness.enter(flow.level, 4) and not fairness.enter(flow.level)
    fairness.leave(flow.level, 4)
    assert (flow.level.used, flow.level.wide) == (0, 0)
