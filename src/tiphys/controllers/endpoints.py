"""Endpoint slices and Endpoints: which pods stand behind each service, and whether they are
ready."""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.api import core_v1, discovery_v1
from tiphys.api.base import decode, encode
from tiphys.api.core_v1 import Pod, Service
from tiphys.api.discovery_v1 import EndpointSlice as Slice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.pods import is_ready, owner_reference
from tiphys.controllers.shell import Controller, namespace_index
from tiphys.controllers.slices import MANAGED, SERVICE, SliceController
from tiphys.controllers.triggertimes import ANNOTATION, TriggerTimes
from tiphys.machinery.addresses import endpoint_problems
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.selectors import from_labels

SLICE_SIZE = 100  # endpoints of a slice, as upstream's max-endpoints-per-slice
ENDPOINTS_SIZE = 1000  # addresses of an Endpoints object, as upstream's maxCapacity
_HEADLESS = "service.kubernetes.io/headless"
_ENDPOINTS_MANAGED = "endpoints.kubernetes.io/managed-by"
_ZONE = "topology.kubernetes.io/zone"
_NEAR = ("PreferClose", "PreferSameZone", "PreferSameNode")
_BATCH = 0.02  # seconds: pods of one rollout change together


# --- the core: pure ---


def target_port(service_port: core_v1.ServicePort, pod: Pod) -> int | None:
    """The number behind a service's target port on a pod; None when the pod has no port of that
    name and protocol."""
    wanted = service_port.target_port
    if isinstance(wanted, int):
        return wanted or service_port.port
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    for container in [*pod.spec.containers, *sidecars]:
        for port in container.ports:
            if port.name == wanted and port.protocol == service_port.protocol:
                return port.container_port
    return None


class Port(NamedTuple):
    """A port of a service, resolved for a pod."""

    name: str
    protocol: str
    number: int
    app_protocol: str | None


def ports_of(service: Service, pod: Pod) -> tuple[Port, ...]:
    """The service's ports on a pod; those that the pod does not have are left out."""
    ports = []
    for port in service.spec.ports:
        number = target_port(port, pod)
        if number is not None:
            ports.append(Port(port.name, port.protocol, number, port.app_protocol))
    return tuple(ports)


def families_of(service: Service) -> list[str]:
    """IPv4, IPv6 or both, the service's first one first. Of a service that has no families yet,
    that of its address, or IPv4."""
    if service.spec.ip_families:
        return service.spec.ip_families
    return ["IPv6" if ":" in service.spec.cluster_ip else "IPv4"]


def address_of(pod: Pod, family: str) -> str:
    """The pod's address of a family, "" when it has none."""
    status = pod.status
    addresses = [address.ip for address in status.pod_ips] or [status.pod_ip]
    return next(
        (address for address in addresses if address and (":" in address) == (family == "IPv6")), ""
    )


def belongs(pod: Pod, family: str = "IPv4") -> bool:
    """Whether a pod that the service selects is an endpoint at all."""
    return not endpoint_problems(address_of(pod, family)) and not pod_finished(pod)


def hostname_of(service: Service, pod: Pod) -> str:
    """The name by which DNS knows the pod within a headless service; empty when it has none
    there."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def target_ref(pod: Pod) -> core_v1.ObjectReference:
    meta = pod.metadata
    return core_v1.ObjectReference(
        kind="Pod", namespace=meta.namespace, name=meta.name, uid=meta.uid
    )


def endpoint_of(
    service: Service, pod: Pod, zones: dict[str, str], family: str = "IPv4"
) -> discovery_v1.Endpoint:
    """A pod as an endpoint. One that terminates is never ready, though it may still be serving;
    `zones` are those of the nodes, by name."""
    terminating = bool(pod.metadata.deletion_timestamp)
    serving = is_ready(pod)
    ready = serving and not terminating
    conditions = discovery_v1.EndpointConditions(
        ready=ready or service.spec.publish_not_ready_addresses,
        serving=serving,
        terminating=terminating,
    )
    endpoint = discovery_v1.Endpoint(
        addresses=[address_of(pod, family)],
        conditions=conditions,
        hostname=hostname_of(service, pod) or None,
        node_name=pod.spec.node_name or None,
        target_ref=target_ref(pod),
        zone=zones.get(pod.spec.node_name) or None,
    )
    endpoint.hints = hints_of(service, endpoint)
    return endpoint


def hints_of(
    service: Service, endpoint: discovery_v1.Endpoint
) -> discovery_v1.EndpointHints | None:
    """For whom a ready endpoint is meant, where the service wants its traffic near: for the zone
    that it is in, and if the service asks for it, for its node (upstream's `trafficdist`)."""
    distribution = service.spec.traffic_distribution
    if distribution not in _NEAR or not endpoint.conditions.ready:
        return None
    hints = discovery_v1.EndpointHints()
    if endpoint.zone:
        hints.for_zones = [discovery_v1.ForZone(name=endpoint.zone)]
    if endpoint.node_name and distribution == "PreferSameNode":
        hints.for_nodes = [discovery_v1.ForNode(name=endpoint.node_name)]
    return hints if hints.for_zones or hints.for_nodes else None


class Wanted(NamedTuple):
    """What a slice should say."""

    ports: list[discovery_v1.EndpointPort]
    endpoints: list[discovery_v1.Endpoint]


def desired_slices(
    service: Service, pods: list[Pod], zones: dict[str, str], family: str = "IPv4"
) -> list[Wanted]:
    """The slices of one family that a service should have: pods that resolve its ports alike share
    slices. A service without ports, which may be headless only, has slices without ports."""
    groups: dict[tuple[Port, ...], list[Pod]] = {}
    members = [pod for pod in pods if belongs(pod, family)]
    for pod in sorted(members, key=lambda pod: pod.metadata.name):
        ports = ports_of(service, pod)
        if ports or not service.spec.ports:
            groups.setdefault(ports, []).append(pod)
    wanted = []
    for ports, alike in groups.items():
        slice_ports = [
            discovery_v1.EndpointPort(
                name=port.name,
                protocol=port.protocol,
                port=port.number,
                app_protocol=port.app_protocol,
            )
            for port in ports
        ]
        for start in range(0, len(alike), SLICE_SIZE):
            chosen = alike[start : start + SLICE_SIZE]
            endpoints = [endpoint_of(service, pod, zones, family) for pod in chosen]
            wanted.append(Wanted(slice_ports, endpoints))
    return wanted


def desired_subsets(service: Service, pods: list[Pod]) -> list[core_v1.EndpointSubset]:
    """The same for Endpoints, of the service's first family: pods that terminate are left
    out, unless the service publishes what is not ready."""
    publish = service.spec.publish_not_ready_addresses
    family = families_of(service)[0]
    groups: dict[tuple[Port, ...], core_v1.EndpointSubset] = {}
    members = [pod for pod in pods if belongs(pod, family)]
    ordered = sorted(members, key=lambda pod: address_of(pod, family))
    for pod in ordered[:ENDPOINTS_SIZE]:
        if pod.metadata.deletion_timestamp and not publish:
            continue
        ports = ports_of(service, pod)
        if service.spec.ports and not ports:
            continue
        key = tuple(port._replace(app_protocol=None) for port in ports)
        if key not in groups:
            subset_ports = [
                core_v1.EndpointPort(name=port.name, port=port.number, protocol=port.protocol)
                for port in ports
            ]
            groups[key] = core_v1.EndpointSubset(ports=subset_ports)
        address = core_v1.EndpointAddress(
            ip=address_of(pod, family),
            hostname=hostname_of(service, pod),
            node_name=pod.spec.node_name or None,
            target_ref=target_ref(pod),
        )
        if is_ready(pod) or publish:
            groups[key].addresses.append(address)
        else:
            groups[key].not_ready_addresses.append(address)
    return list(groups.values())


def selects_pods(service: Service) -> bool:
    """Whether a service's endpoints are the pods that it selects. Of others they are kept by
    hand."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def _what_counts(pod: Pod) -> tuple[Any, ...]:
    """What a pod's endpoint is made of: as long as it stays, so does the endpoint."""
    return (
        pod.status.pod_ip,
        pod.status.pod_ips,
        is_ready(pod),
        pod.status.phase,
        bool(pod.metadata.deletion_timestamp),
        pod.metadata.labels,
        pod.spec.node_name,
        pod.spec.hostname,
    )


# --- the shells ---


class _ServiceController(Controller):
    """Watches services, and pods on behalf of the services that select them."""

    workers = 4

    def watch(self) -> None:
        self._services = self.informer(Service)
        self._pods = self.informer(Pod)
        self._services.index("namespace", namespace_index)
        self._pods.index("namespace", namespace_index)
        self._services.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if old is not None and new is not None and _what_counts(old) == _what_counts(new):
            return
        labels = [pod.metadata.labels for pod in (old, new) if pod is not None]
        namespace = (new or old).metadata.namespace
        for service in self._services.by("namespace", namespace):
            if not service.spec.selector:
                continue
            selector = from_labels(service.spec.selector)
            if any(map(selector.matches, labels)):
                self.queue.add_after(f"{namespace}/{service.metadata.name}", _BATCH)

    def _members(self, service: Service) -> list[Pod]:
        selector = from_labels(service.spec.selector)
        pods = self._pods.by("namespace", service.metadata.namespace)
        return [pod for pod in pods if selector.matches(pod.metadata.labels)]


class _Content(NamedTuple):
    """Of one slice. `trigger` is when its pods or service last changed, "" if unknown."""

    family: str
    wanted: Wanted
    trigger: str

    def annotated(self, annotations: dict[str, str]) -> dict[str, str]:
        """With the time, and without that of an earlier change."""
        others = {key: value for key, value in annotations.items() if key != ANNOTATION}
        return {**others, ANNOTATION: self.trigger} if self.trigger else others


class EndpointSliceController(_ServiceController, SliceController):
    name = "endpointslice"
    event_source = "endpoint-slice-controller"
    manager = "endpointslice-controller.k8s.io"

    def watch(self) -> None:
        super().watch()
        self._triggers = TriggerTimes()
        self._nodes = self.informer(core_v1.Node)
        self.watch_slices()

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        standing = self.slices_of(key)
        if service is None or not selects_pods(service):
            self._triggers.forget(key)
            for superfluous in standing:
                await self.delete(superfluous)
            return None
        zones = {node.metadata.name: node.metadata.labels.get(_ZONE, "") for node in self._nodes}
        members = self._members(service)
        trigger = self._triggers.triggered(key, service, members)
        families = families_of(service)
        for family in families:
            of_family = [current for current in standing if current.address_type == family]
            wanted = desired_slices(service, members, zones, family)
            # Upstream keeps an empty one: the service has no endpoints.
            content = [_Content(family, desired, trigger) for desired in wanted or [Wanted([], [])]]
            await self._keep(service, of_family, content)
        for superfluous in standing:
            if superfluous.address_type not in families:
                await self.delete(superfluous)
        return None

    async def _keep(self, service: Service, standing: list[Slice], wanted: list[_Content]) -> None:
        for index, content in enumerate(wanted):
            if index < len(standing):
                await self._update(service, standing[index], content)
            else:
                await self._create(service, content)
        for superfluous in standing[len(wanted) :]:
            await self.delete(superfluous)

    def _labels(self, service: Service) -> dict[str, str]:
        labels = {
            **service.metadata.labels,
            SERVICE: service.metadata.name,
            MANAGED: self.manager,
        }
        labels.pop(_HEADLESS, None)
        if service.spec.cluster_ip == "None":
            labels[_HEADLESS] = ""
        return labels

    async def _create(self, service: Service, content: _Content) -> None:
        meta = ObjectMeta(
            generate_name=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            labels=self._labels(service),
            annotations=content.annotated({}),
            owner_references=[owner_reference(service)],
        )
        await self.create_slice(
            Slice(
                metadata=meta,
                address_type=content.family,
                ports=content.wanted.ports,
                endpoints=content.wanted.endpoints,
            )
        )

    async def _update(self, service: Service, standing: Slice, content: _Content) -> None:
        labels = self._labels(service)
        wanted = content.wanted
        is_same = (
            standing.ports == wanted.ports
            and standing.endpoints == wanted.endpoints
            and standing.metadata.labels == labels
        )
        if is_same:
            return
        changed = decode(encode(standing), Slice)
        changed.ports = wanted.ports
        changed.endpoints = wanted.endpoints
        changed.metadata.labels = labels
        changed.metadata.annotations = content.annotated(standing.metadata.annotations)
        await self.client.update(changed)


class EndpointsController(_ServiceController):
    name = "endpoints"
    event_source = "endpoint-controller"

    def watch(self) -> None:
        super().watch()
        self._endpoints = self.informer(core_v1.Endpoints)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.get(key)
        standing = self._endpoints.get(key)
        if service is None:
            if standing is not None and _ENDPOINTS_MANAGED in standing.metadata.labels:
                await self.delete(standing)
            return None
        if not selects_pods(service):
            return None
        meta = service.metadata
        labels = {**meta.labels, _ENDPOINTS_MANAGED: "endpoint-controller"}
        if service.spec.cluster_ip == "None":
            labels[_HEADLESS] = ""
        wanted = core_v1.Endpoints(
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, labels=labels),
            subsets=desired_subsets(service, self._members(service)),
        )
        if standing is None:
            await self.client.create(wanted)
        elif standing.subsets != wanted.subsets or standing.metadata.labels != labels:
            wanted.metadata.resource_version = standing.metadata.resource_version
            wanted.metadata.annotations = dict(standing.metadata.annotations)
            await self.client.update(wanted)
        return None
