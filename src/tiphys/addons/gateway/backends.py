"""References of routes to backends: to a port of a Service that there is, or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tiphys.addons.gateway.model import BackendTLS, Target
from tiphys.addons.gateway.secrets import CertificateError, authorities_of
from tiphys.addons.gateway.snapshot import Objects, Route, Verdict, oldest_first
from tiphys.addons.gateway.types.policies import BackendTLSPolicy
from tiphys.api import core_v1

_PROTOCOLS: dict[str, Literal["http1", "h2c"]] = {
    "kubernetes.io/h2c": "h2c",
    "grpc": "h2c",
    "kubernetes.io/ws": "http1",
    "http": "http1",
}
_SERVED = "kubernetes.io/"
"""App protocols of Kubernetes itself: of these the ones we do not know are refused, not guessed."""


class Unresolved(Exception):
    """`reason` is that of the route's condition ResolvedRefs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class PolicyState:
    """The verdicts on a BackendTLSPolicy, and for which Gateways (``namespace/name``)."""

    policy: BackendTLSPolicy
    verdicts: list[Verdict]
    tls: BackendTLS | None
    gateways: set[str] = field(default_factory=set)


class Resolver:
    """Looks up backends. `policies` keep track of what they are used for."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.policies: list[PolicyState] = []
        self._by_target: dict[tuple[str, str, str], list[PolicyState]] = {}
        for policy in oldest_first(objects.policies):
            self._take(policy)

    def target(self, route: Route, ref: Any, gateways: set[str]) -> Target:
        """Raises Unresolved."""
        namespace = ref.namespace or route.metadata.namespace
        if (ref.group, ref.kind) != ("", "Service"):
            raise Unresolved("InvalidKind", f"{ref.kind} {ref.name} is no Service")
        if not self._objects.permits(route, "", "Service", namespace, ref.name):
            message = f"no ReferenceGrant of {namespace} allows Service {ref.name}"
            raise Unresolved("RefNotPermitted", message)
        service = self._objects.services.get(f"{namespace}/{ref.name}")
        if service is None or service.spec.type == "ExternalName":
            raise Unresolved("BackendNotFound", f"there is no service {namespace}/{ref.name}")
        port = next((one for one in service.spec.ports if one.port == ref.port), None)
        if port is None or (port.protocol or "TCP") != "TCP":
            message = f"service {namespace}/{ref.name} has no TCP port {ref.port}"
            raise Unresolved("BackendNotFound", message)
        tls = self._tls(namespace, ref.name, port.name, gateways)
        return Target(namespace, ref.name, port.port, _protocol(route, port), tls)

    def _tls(
        self, namespace: str, service: str, port: str, gateways: set[str]
    ) -> BackendTLS | None:
        """Of the policy of the port, or of the whole service."""
        claims = self._by_target.get((namespace, service, port)) or self._by_target.get(
            (namespace, service, "")
        )
        if not claims:
            return None
        for state in claims:
            state.gateways |= gateways
        if claims[0].tls is None:
            raise Unresolved("ResolvedRefs", "")  # the policy's condition has the reason
        return claims[0].tls

    # --- policies ---

    def _take(self, policy: BackendTLSPolicy) -> None:
        state = self._judge(policy)
        self.policies.append(state)
        for ref in policy.spec.target_refs:
            if (ref.group, ref.kind) != ("", "Service"):
                continue
            key = (policy.metadata.namespace, ref.name, ref.section_name or "")
            claims = self._by_target.setdefault(key, [])
            claims.append(state)
            if claims[0] is not state:
                message = f"BackendTLSPolicy {claims[0].policy.metadata.name} came first"
                state.verdicts = [Verdict("Accepted", False, "Conflicted", message)]

    def _judge(self, policy: BackendTLSPolicy) -> PolicyState:
        validation = policy.spec.validation
        names = tuple(
            (one.type, (one.uri if one.type == "URI" else one.hostname) or "")
            for one in validation.subject_alt_names
        )
        if validation.well_known_ca_certificates:
            return _good(policy, BackendTLS(validation.hostname, names))
        authorities = []
        problem: Verdict | None = None
        for ref in validation.ca_certificate_refs:
            key = f"{policy.metadata.namespace}/{ref.name}"
            if (ref.group, ref.kind) != ("", "ConfigMap"):
                message = f"{ref.kind} {ref.name} is no ConfigMap"
                problem = problem or Verdict("ResolvedRefs", False, "InvalidKind", message)
                continue
            config_map = self._objects.config_maps.get(key)
            try:
                authorities.append(
                    authorities_of(config_map.data.get("ca.crt", "") if config_map else "")
                )
            except CertificateError as error:
                message = f"ConfigMap {key} {error}"
                problem = problem or Verdict(
                    "ResolvedRefs", False, "InvalidCACertificateRef", message
                )
        if authorities:
            policy_state = _good(
                policy, BackendTLS(validation.hostname, names, "\n".join(authorities))
            )
            if problem is not None:
                policy_state.verdicts[1] = problem
            return policy_state
        refused = Verdict("Accepted", False, "NoValidCACertificate", "no authority can be used")
        return PolicyState(policy, [refused, *([problem] if problem else [])], None)


def _good(policy: BackendTLSPolicy, tls: BackendTLS) -> PolicyState:
    verdicts = [
        Verdict("Accepted", True, "Accepted"),
        Verdict("ResolvedRefs", True, "ResolvedRefs"),
    ]
    return PolicyState(policy, verdicts, tls)


def _protocol(route: Route, port: core_v1.ServicePort) -> Literal["http1", "h2c"]:
    wanted = port.app_protocol or ""
    if route.kind == "GRPCRoute" and not wanted:
        return "h2c"
    if wanted.startswith(_SERVED) and wanted not in _PROTOCOLS:
        raise Unresolved("UnsupportedProtocol", f"app protocol {wanted} is not served")
    return _PROTOCOLS.get(wanted, "http1")
