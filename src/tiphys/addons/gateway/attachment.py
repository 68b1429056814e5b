"""Which routes attach to which listeners, and the verdicts.

Source: the documentation of CommonRouteSpec and of the conditions of routes in gateway-api.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tiphys.addons.gateway import GROUP
from tiphys.addons.gateway.backends import Resolver
from tiphys.addons.gateway.listeners import State
from tiphys.addons.gateway.model import EVERYTHING, covers, intersection, specificity
from tiphys.addons.gateway.routes import Compiled, Unsupported, compile_route
from tiphys.addons.gateway.snapshot import Objects, Route, Verdict
from tiphys.addons.gateway.types.shared import ParentReference


@dataclass
class RouteState:
    """The verdicts on a route for each parent that is a Gateway of ours."""

    route: Route
    parents: list[tuple[ParentReference, list[Verdict]]] = field(default_factory=list)


@dataclass
class _Attached:
    listener: State
    names: list[str]


def attach(
    route: Route, gateways: dict[str, list[State]], objects: Objects, resolver: Resolver
) -> tuple[RouteState, Compiled | None]:
    """Attaches a route to the listeners of every parent. `gateways` has ours, by
    ``namespace/name``."""
    state = RouteState(route)
    attached: list[tuple[ParentReference, list[_Attached] | Verdict]] = []
    for ref in route.spec.parent_refs:
        key = f"{ref.namespace or route.metadata.namespace}/{ref.name}"
        if (ref.group, ref.kind) == (GROUP, "Gateway") and key in gateways:
            attached.append((ref, _attach(route, ref, gateways[key], objects)))
    if not attached:
        return state, None
    compiled = Compiled()
    refusal = None
    serving = {
        f"{one.listener.gateway.metadata.namespace}/{one.listener.gateway.metadata.name}"
        for _, outcome in attached
        if not isinstance(outcome, Verdict)
        for one in outcome
    }
    try:
        compiled = compile_route(route, resolver, serving)
    except Unsupported as error:
        refusal = Verdict("Accepted", False, "UnsupportedValue", str(error))
    for ref, outcome in attached:
        verdict = refusal or (outcome if isinstance(outcome, Verdict) else None)
        if verdict is None and not isinstance(outcome, Verdict):
            _serve(route, outcome, compiled)
        accepted = verdict or Verdict("Accepted", True, "Accepted")
        state.parents.append((ref, [accepted, compiled.resolved]))
    return state, compiled


def _attach(
    route: Route, ref: ParentReference, listeners: list[State], objects: Objects
) -> list[_Attached] | Verdict:
    """The listeners that take it, with the host names that both have; or why there is none."""
    named = [
        one
        for one in listeners
        if ref.section_name in (None, one.listener.name) and ref.port in (None, one.listener.port)
    ]
    if not named:
        return Verdict("Accepted", False, "NoMatchingParent", "the Gateway has no such listener")
    allowing = [
        one
        for one in named
        if route.kind in one.kinds and one.allows_namespace(route.metadata.namespace, objects)
    ]
    if not allowing:
        return Verdict("Accepted", False, "NotAllowedByListeners", "no listener allows this route")
    attachments = [_Attached(one, _common_names(route, one)) for one in allowing]
    attachments = [one for one in attachments if one.names]
    if not attachments:
        message = "no listener has a host name of this route"
        return Verdict("Accepted", False, "NoMatchingListenerHostname", message)
    return attachments


def _common_names(route: Route, state: State) -> list[str]:
    wanted = getattr(route.spec, "hostnames", None) or [EVERYTHING]
    common = [intersection(name, state.hostname) for name in wanted]
    return list(dict.fromkeys(name for name in common if name is not None))


def _serve(route: Route, attached: list[_Attached], compiled: Compiled) -> None:
    for attachment in attached:
        if route not in attachment.listener.attached:
            attachment.listener.attached.append(route)
        for name in attachment.names:
            if route.kind in ("HTTPRoute", "GRPCRoute"):
                attachment.listener.rules.setdefault(name, []).extend(compiled.rules)
            else:
                attachment.listener.streams.setdefault(name, compiled.backends)


def owner(name: str, listeners: list[State]) -> State | None:
    """Whose requests of a host name are: of the listener with the most specific one (listener
    isolation)."""
    covering = [one for one in listeners if covers(one.hostname, name)]
    return min(covering, key=lambda one: specificity(one.hostname), default=None)
