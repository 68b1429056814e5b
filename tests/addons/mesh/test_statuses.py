"""What is said of policies and routes, and when it is looked at again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.mesh.builders import port, route, service
from tests.addons.pretended import Pretended
from tiphys.addons.mesh.statuses import PolicyReconciler, RouteReconciler
from tiphys.addons.mesh.types import MeshPolicy, ServiceRoute
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.shell import Context

CREATED = "2026-01-01T00:00:00Z"


class Reconciled:
    """A reconciler over informers that nobody runs."""

    def __init__(self, *objects: Any) -> None:
        self.cluster = Pretended()
        cluster: Any = self.cluster
        self.context = Context(cluster, cluster, cluster, TaskGroup("test"), lambda: 10.0)
        for one in objects:
            self.cluster.put(one)
        self.queued: list[str] = []
        self.routes = RouteReconciler(self.context, "test")
        self.routes.watch(self.queued.append)
        self.queued.clear()

    async def said(self, one: ServiceRoute) -> dict[str, str]:
        """Reason and message of each condition of a route."""
        await self.routes.reconcile(one)
        [(key, status)] = self.cluster.patched
        assert key == f"ServiceRoute shop/{one.metadata.name}"
        self.cluster.patched.clear()
        return {
            row["type"]: f"{row['status']} {row['reason']} {row.get('message', '')}".strip()
            for row in status["conditions"]
        }


GOOD = {"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}

SAID: dict[str, tuple[ServiceRoute, dict[str, str]]] = {
    "a route of its own": (route("web"), GOOD),
    "a route to others": (route("web", ("web", 1), ("next", 1)), GOOD),
    "no such service": (
        route("r", service="lost"),
        {**GOOD, "Accepted": "False NoService there is no Service lost"},
    ),
    "no such port": (
        route("r", service="web", port=81),
        {**GOOD, "Accepted": "False NoService Service web has no TCP port 81"},
    ),
    "backends that are not there": (
        route("web", ("lost", 1), ("web", 1), ("gone", 1)),
        {
            **GOOD,
            "ResolvedRefs": "False BackendNotFound no Service has these names and TCP ports: "
            "lost:80, gone:80",
        },
    ),
    "another route was first": (
        route("young", service="web", created="2026-01-02T00:00:00Z"),
        {
            **GOOD,
            "Accepted": "False Conflicted ServiceRoute old has the service and port already",
        },
    ),
}


@pytest.mark.parametrize("case", SAID)
async def test_a_route_is_told_how_it_is(case: str) -> None:
    one, expected = SAID[case]
    made = Reconciled(service("web", port()), service("next"))
    if "first" in case:
        made.cluster.put(route("old", service="web", created=CREATED))
    made.cluster.put(one)
    assert await made.said(one) == expected


async def test_routes_and_services_of_other_namespaces_are_no_concern() -> None:
    elsewhere, old = service("lost"), route("old", service="web", created=CREATED)
    elsewhere.metadata.namespace = old.metadata.namespace = "other"
    one = route("web", ("lost", 1), service="web", created="2026-01-02T00:00:00Z")
    made = Reconciled(service("web"), elsewhere, old, one)
    found = await made.said(one)
    assert found["Accepted"] == "True Accepted"
    assert found["ResolvedRefs"].startswith("False BackendNotFound")


async def test_what_comes_or_goes_is_news_for_the_routes_of_its_namespace() -> None:
    one, far = route("one"), route("far")
    far.metadata.namespace = "other"
    made = Reconciled(one, far)
    made.cluster.put(service("web"))
    assert made.queued == ["shop/one"]
    made.queued.clear()
    labelled = service("web")
    labelled.metadata.labels = {"a": "b"}
    made.cluster.put(labelled)
    assert made.queued == [], "it is the same to them"
    made.cluster.put(service("web", port(number=81)))
    made.cluster.take(service("web"))
    assert made.queued == ["shop/one"] * 2
    made.queued.clear()
    made.cluster.put(route("two"))
    assert sorted(made.queued) == ["shop/one", "shop/two"]


async def test_a_policy_holds() -> None:
    made = Reconciled()
    policy = MeshPolicy(metadata=ObjectMeta(name="default", namespace="shop", generation=3))
    await PolicyReconciler(made.context, "test").reconcile(policy)
    [(_, status)] = made.cluster.patched
    assert status["observedGeneration"] == 3
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Accepted", "True")]
