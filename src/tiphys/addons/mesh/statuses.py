"""What is said of policies and routes: whether they hold, and of what they name that is not
there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.addons.mesh.routing import judge
from tiphys.addons.mesh.types import MeshPolicy, MeshStatus, ServiceRoute
from tiphys.api import core_v1
from tiphys.client.informer import key_of
from tiphys.operator import Reconciler


class PolicyReconciler(Reconciler[MeshPolicy]):
    kind = MeshPolicy

    async def reconcile(self, obj: MeshPolicy) -> float | None:
        standing = obj.status.conditions
        conditions = self.condition(obj, standing, "Accepted", True, "Accepted")
        await self.set_status(obj, MeshStatus(conditions=conditions))
        return None


class RouteReconciler(Reconciler[ServiceRoute]):
    kind = ServiceRoute

    def watch(self, enqueue: Callable[[str], None]) -> None:
        self._routes = self.informer(ServiceRoute)
        self._services = self.informer(core_v1.Service)

        def around(old: Any, new: Any) -> None:
            """Others of the namespace may name what came or went."""
            if old is not None and new is not None and old.spec == new.spec:
                return
            namespace = (new or old).metadata.namespace
            for route in self._routes:
                if route.metadata.namespace == namespace:
                    enqueue(key_of(route))

        self._routes.on_change(around)
        self._services.on_change(around)

    async def reconcile(self, obj: ServiceRoute) -> float | None:
        namespace = obj.metadata.namespace
        routes = [one for one in self._routes if one.metadata.namespace == namespace]
        named = {obj.spec.service, *(one.name for one in obj.spec.backend_refs)}
        by_name = {name: self._services.get(f"{namespace}/{name}") for name in named}
        services = {name: one for name, one in by_name.items() if one is not None}
        verdict = judge(obj, routes, services)
        refused = verdict.no_service
        reason = "NoService" if refused else "Accepted"
        if verdict.conflicting:
            refused = f"ServiceRoute {verdict.conflicting} has the service and port already"
            reason = "Conflicted"
        conditions = self.condition(
            obj, obj.status.conditions, "Accepted", not refused, reason, refused
        )
        missing = ", ".join(verdict.unresolved)
        conditions = self.condition(
            obj,
            conditions,
            "ResolvedRefs",
            not missing,
            "BackendNotFound" if missing else "ResolvedRefs",
            f"no Service has these names and TCP ports: {missing}" if missing else "",
        )
        await self.set_status(obj, MeshStatus(conditions=conditions))
        return None
