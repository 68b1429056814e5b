"""The verdicts as statuses of the objects (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.addons.gateway import CONTROLLER, GROUP
from tiphys.addons.gateway.attachment import RouteState
from tiphys.addons.gateway.backends import PolicyState
from tiphys.addons.gateway.gateways import INSECURE, GatewayState
from tiphys.addons.gateway.listeners import OVERLAPPING, State
from tiphys.addons.gateway.snapshot import Verdict
from tiphys.addons.gateway.types.gateways import (
    GatewayClass,
    GatewayClassStatus,
    GatewayStatus,
    GatewayStatusAddress,
    ListenerStatus,
    SupportedFeature,
)
from tiphys.addons.gateway.types.policies import PolicyAncestorStatus, PolicyStatus
from tiphys.addons.gateway.types.shared import ParentReference, RouteParentStatus, RouteStatus
from tiphys.api import networking_v1
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions

_WHILE_TRUE = frozenset((OVERLAPPING, INSECURE))

FEATURES = (
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
)
"""What the conformance tests call what is served here."""


def ingress_status(address: str) -> networking_v1.IngressStatus:
    is_address = ":" in address or address.replace(".", "").isdigit()
    entry = networking_v1.IngressLoadBalancerIngress(
        ip=address if is_address else "", hostname="" if is_address else address
    )
    return networking_v1.IngressStatus(
        load_balancer=networking_v1.IngressLoadBalancerStatus(ingress=[entry])
    )


def class_status(obj: GatewayClass, verdict: Verdict, now: float) -> GatewayClassStatus:
    return GatewayClassStatus(
        conditions=conditions_of(obj, obj.status.conditions, [verdict], now),
        supported_features=[SupportedFeature(name=name) for name in FEATURES],
    )


def gateway_status(state: GatewayState, published: str, now: float) -> GatewayStatus:
    """`published` replaces the addresses where clients reach another one."""
    gateway = state.gateway
    before: dict[str, list[Condition]] = {
        one.name: one.conditions for one in gateway.status.listeners
    }
    status = GatewayStatus(
        conditions=conditions_of(gateway, gateway.status.conditions, state.verdicts, now),
        listeners=[
            _listener(one, before.get(one.listener.name, []), now) for one in state.listeners
        ],
    )
    shown = [published] if published and state.addresses else state.addresses
    status.addresses = [GatewayStatusAddress(value=address) for address in shown]
    return status


def _listener(state: State, before: list[Condition], now: float) -> ListenerStatus:
    return ListenerStatus(
        name=state.listener.name,
        attached_routes=len(state.attached),
        supported_kinds=state.supported(),
        conditions=conditions_of(state.gateway, before, state.verdicts(), now),
    )


def route_status(state: RouteState, now: float) -> RouteStatus:
    """Other controllers' parents stay as they are."""
    standing = state.route.status.parents
    parents = [one for one in standing if one.controller_name != CONTROLLER]
    for ref, verdicts in state.parents:
        before: list[Condition] = next(
            (
                one.conditions
                for one in standing
                if one.controller_name == CONTROLLER and one.parent_ref == ref
            ),
            [],
        )
        parent_conditions = conditions_of(state.route, before, verdicts, now)
        parents.append(
            RouteParentStatus(
                parent_ref=ref, controller_name=CONTROLLER, conditions=parent_conditions
            )
        )
    return RouteStatus(parents=parents)


def policy_status(state: PolicyState, now: float) -> PolicyStatus:
    """Of the Gateways that talk to the targets; of others there is nothing to say."""
    standing = state.policy.status.ancestors
    ancestors = [one for one in standing if one.controller_name != CONTROLLER]
    for key in sorted(state.gateways):
        namespace, _, name = key.partition("/")
        ref = ParentReference(group=GROUP, kind="Gateway", namespace=namespace, name=name)
        before: list[Condition] = next(
            (
                one.conditions
                for one in standing
                if one.controller_name == CONTROLLER and one.ancestor_ref == ref
            ),
            [],
        )
        verdicts = conditions_of(state.policy, before, state.verdicts, now)
        ancestors.append(
            PolicyAncestorStatus(ancestor_ref=ref, controller_name=CONTROLLER, conditions=verdicts)
        )
    return PolicyStatus(ancestors=ancestors)


def conditions_of(
    obj: Any, standing: Iterable[Condition], verdicts: Iterable[Verdict], now: float
) -> list[Condition]:
    """`standing` with the verdicts; each keeps its time of transition with its status. Conditions
    that are there only while they are true go with their verdicts."""
    verdicts = list(verdicts)
    gone = _WHILE_TRUE - {one.type for one in verdicts}
    updated_conditions = [one for one in standing if one.type not in gone]
    for verdict in verdicts:
        wanted = Condition(
            type=verdict.type,
            status=conditions.status_of(verdict.ok),
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=obj.metadata.generation,
        )
        updated_conditions = conditions.updated(updated_conditions, wanted, now)
    return updated_conditions
