"""Endpoint slices and Endpoints: which pods stand behind each service, and whether they are ready."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1, discovery_v1
from tiphys.api.core_v1 import Pod, Service
from tiphys.api.discovery_v1 import EndpointSlice as Slice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.pods import is_ready, owner_reference
from tiphys.controllers.shell import Controller
from tiphys.machinery.addresses import endpoint_problems
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_labels

SERVICE, MANAGED = "kubernetes.io/service-name", "endpointslice.kubernetes.io/managed-by"
BY_US = "endpointslice-controller.k8s.io"
SLICE_SIZE = 100
_HEADLESS = "service.kubernetes.io/headless"

# --- the core: pure ---


def target_port(service_port: core_v1.ServicePort, pod: Pod) -> int | None:
    """The number behind a service's target port on a pod; None when the pod has no port of that name."""
    wanted = service_port.target_port
    if isinstance(wanted, int):
        return wanted or service_port.port
    containers = [
        *pod.spec.containers,
        *(c for c in pod.spec.init_containers if c.restart_policy == "Always"),
    ]
    for container in containers:
        for port in container.ports:
            if port.name == wanted and port.protocol == service_port.protocol:
                return port.container_port
    return None


def belongs(pod: Pod) -> bool:
    """Whether a matching pod is an endpoint at all."""
    return not endpoint_problems(pod.status.pod_ip) and pod.status.phase not in (
        "Succeeded",
        "Failed",
    )


def endpoint_of(service: Service, pod: Pod, zones: dict[str, str]) -> discovery_v1.Endpoint:
    terminating, serving = bool(pod.metadata.deletion_timestamp), is_ready(pod)
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    endpoint = discovery_v1.Endpoint(
        addresses=[pod.status.pod_ip],
        conditions=discovery_v1.EndpointConditions(
            ready=ready, serving=serving, terminating=terminating
        ),
        node_name=pod.spec.node_name or None,
        target_ref=core_v1.ObjectReference(
            kind="Pod",
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
        ),
    )
    if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
        endpoint.hostname = pod.spec.hostname
    if zone := zones.get(pod.spec.node_name):
        endpoint.zone = zone
    return endpoint


def desired_slices(
    service: Service, pods: list[Pod], zones: dict[str, str]
) -> list[tuple[list[discovery_v1.EndpointPort], list[discovery_v1.Endpoint]]]:
    """(ports, endpoints) of each slice the service should have: pods that resolve the ports alike share slices."""
    groups: dict[tuple[Any, ...], list[Pod]] = {}
    for pod in sorted(filter(belongs, pods), key=lambda p: p.metadata.name):
        found = tuple(
            (p.name, p.protocol, number, p.app_protocol)
            for p in service.spec.ports
            if (number := target_port(p, pod)) is not None
        )
        if found or not service.spec.ports:
            groups.setdefault(found, []).append(pod)
    made = []
    for found, members in groups.items():
        ports = [
            discovery_v1.EndpointPort(name=n, protocol=pr, port=nu, app_protocol=a)
            for n, pr, nu, a in found
        ]
        for start in range(0, len(members), SLICE_SIZE):
            made.append(
                (
                    ports,
                    [
                        endpoint_of(service, pod, zones)
                        for pod in members[start : start + SLICE_SIZE]
                    ],
                )
            )
    return made


def desired_subsets(service: Service, pods: list[Pod]) -> list[core_v1.EndpointSubset]:
    """The same as Endpoints has it, capped at a thousand addresses."""
    groups: dict[tuple[Any, ...], core_v1.EndpointSubset] = {}
    for pod in sorted(filter(belongs, pods), key=lambda p: p.status.pod_ip)[:1000]:
        if pod.metadata.deletion_timestamp and not service.spec.publish_not_ready_addresses:
            continue
        found = tuple(
            (p.name, number, p.protocol)
            for p in service.spec.ports
            if (number := target_port(p, pod)) is not None
        )
        if service.spec.ports and not found:
            continue
        subset = groups.setdefault(
            found,
            core_v1.EndpointSubset(
                ports=[core_v1.EndpointPort(name=n, port=nu, protocol=pr) for n, nu, pr in found]
            ),
        )
        ref = core_v1.ObjectReference(
            kind="Pod",
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
        )
        address = core_v1.EndpointAddress(
            ip=pod.status.pod_ip, node_name=pod.spec.node_name or None, target_ref=ref
        )
        if pod.spec.hostname and pod.spec.subdomain == service.metadata.name:
            address.hostname = pod.spec.hostname
        ready = is_ready(pod) or service.spec.publish_not_ready_addresses
        (subset.addresses if ready else subset.not_ready_addresses).append(address)
    return list(groups.values())


# --- the shells ---


class _ServiceController(Controller):
    """Watches services, and pods on behalf of the services that select them."""

    workers = 4

    def watch(self) -> None:
        self._services, self._pods = self.informer(Service), self.informer(Pod)
        self._services.index("namespace", lambda s: [s.metadata.namespace])
        self._pods.index("namespace", lambda p: [p.metadata.namespace])
        self._services.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if old is not None and new is not None and _same(old, new):
            return
        namespace = (new or old).metadata.namespace
        for service in self._services.by("namespace", namespace):
            if not service.spec.selector:
                continue
            selector = from_labels(service.spec.selector)
            if any(pod is not None and selector.matches(pod.metadata.labels) for pod in (old, new)):
                # A moment's patience: pods of one rollout change together.
                self.queue.add_after(f"{namespace}/{service.metadata.name}", 0.02)

    def _members(self, service: Service) -> list[Pod]:
        selector = from_labels(service.spec.selector)
        return [
            p
            for p in self._pods.by("namespace", service.metadata.namespace)
            if selector.matches(p.metadata.labels)
        ]


def _same(old: Pod, new: Pod) -> bool:
    def seen(pod: Pod) -> tuple[Any, ...]:
        meta, status = pod.metadata, pod.status
        return (
            status.pod_ip,
            is_ready(pod),
            status.phase,
            bool(meta.deletion_timestamp),
            meta.labels,
            pod.spec.node_name,
            pod.spec.hostname,
        )

    return seen(old) == seen(new)


class EndpointSliceController(_ServiceController):
    name = "endpointslice"
    event_source = "endpoint-slice-controller"

    def watch(self) -> None:
        super().watch()
        self._slices, self._nodes = self.informer(Slice), self.informer(core_v1.Node)
        self._slices.index(
            "service", lambda s: [f"{s.metadata.namespace}/{s.metadata.labels.get(SERVICE, '')}"]
        )
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, old: Any, new: Any) -> None:
        touched = new or old
        if touched.metadata.labels.get(MANAGED) == BY_US and (new is None or old is not None):
            self.queue.add(
                f"{touched.metadata.namespace}/{touched.metadata.labels.get(SERVICE, '')}"
            )

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        mine = [
            s for s in self._slices.by("service", key) if s.metadata.labels.get(MANAGED) == BY_US
        ]
        if service is None or not service.spec.selector or service.spec.type == "ExternalName":
            for gone in mine:
                await self._delete(gone)
            return None
        zones = {
            n.metadata.name: n.metadata.labels.get("topology.kubernetes.io/zone", "")
            for n in self._nodes
        }
        wanted = desired_slices(service, self._members(service), zones) or [([], [])]
        mine.sort(key=lambda s: (s.metadata.creation_timestamp or "", s.metadata.name))
        for index, (ports, endpoints) in enumerate(wanted):
            await self._write(service, mine[index] if index < len(mine) else None, ports, endpoints)
        for extra in mine[len(wanted) :]:
            await self._delete(extra)
        return None

    async def _write(
        self, service: Service, standing: Slice | None, ports: list[Any], endpoints: list[Any]
    ) -> None:
        labels = {
            k: v
            for k, v in service.metadata.labels.items()
            if k not in (SERVICE, MANAGED, _HEADLESS)
        }
        labels |= {SERVICE: service.metadata.name, MANAGED: BY_US}
        if service.spec.cluster_ip == "None":
            labels[_HEADLESS] = ""
        if standing is not None and (
            standing.ports,
            standing.endpoints,
            standing.metadata.labels,
        ) == (
            ports,
            endpoints,
            labels,
        ):
            return
        if standing is None:
            meta = ObjectMeta(
                generate_name=service.metadata.name + "-",
                namespace=service.metadata.namespace,
                labels=labels,
            )
            meta.owner_references = [owner_reference(service)]
            made = Slice(metadata=meta, address_type="IPv4", ports=ports, endpoints=endpoints)
            standing = await self.client.create(made)
            self._slices.note_written(standing)  # our own write need not come back before the next look
            return
        from tiphys.api.base import decode, encode

        changed = decode(encode(standing), Slice)
        changed.ports, changed.endpoints, changed.metadata.labels = ports, endpoints, labels
        await self.client.update(changed)

    async def _delete(self, gone: Slice) -> None:
        try:
            await self.client.delete(Slice, gone.metadata.name, gone.metadata.namespace)
        except StatusError as error:
            if error.code != 404:
                raise


class EndpointsController(_ServiceController):
    name = "endpoints"
    event_source = "endpoint-controller"

    def watch(self) -> None:
        super().watch()
        self._endpoints = self.informer(core_v1.Endpoints)

    async def reconcile(self, key: str) -> float | None:
        service, standing = self._services.get(key), self._endpoints.get(key)
        if service is None:
            if (
                standing is not None
                and "endpoints.kubernetes.io/managed-by" in standing.metadata.labels
            ):
                await self.client.delete(
                    core_v1.Endpoints, standing.metadata.name, standing.metadata.namespace
                )
            return None
        if not service.spec.selector or service.spec.type == "ExternalName":
            return None
        subsets = desired_subsets(service, self._members(service))
        labels = {
            **service.metadata.labels,
            "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        }
        if service.spec.cluster_ip == "None":
            labels[_HEADLESS] = ""
        if (
            standing is not None
            and standing.subsets == subsets
            and standing.metadata.labels == labels
        ):
            return None
        meta = ObjectMeta(
            name=service.metadata.name, namespace=service.metadata.namespace, labels=labels
        )
        wanted = core_v1.Endpoints(metadata=meta, subsets=subsets)
        if standing is None:
            await self.client.create(wanted)
        else:
            wanted.metadata.resource_version = standing.metadata.resource_version
            wanted.metadata.annotations = dict(standing.metadata.annotations)
            await self.client.update(wanted)
        return None
