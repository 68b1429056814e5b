"""GatewayClass and Gateway."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.gateway import GROUP, VERSION
from tiphys.addons.gateway.types.shared import (
    CoreGroup,
    Group,
    Hostname,
    Kind,
    LocalObjectReference,
    Name,
    Namespace,
    Port,
    SectionName,
)
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Condition, LabelSelector, Object
from tiphys.operator import Column, Rule, custom_resource

_ADDRESS = {
    "one_of": [
        {
            "properties": {
                "type": {"enum": ["IPAddress"]},
                "value": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
            }
        },
        {"properties": {"type": {"not": {"enum": ["IPAddress"]}}}},
    ]
}
"""What is called an IP address is one."""


class ParametersReference(Struct):
    """An object whose namespace may be another one, or none."""

    group: Group
    kind: Kind
    name: Name
    namespace: Namespace | None = None


class GatewayClassSpec(Struct):
    controller_name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
        ),
        Rule("self == oldSelf", message="field is immutable"),
    ]
    description: Annotated[str, Meta(max_length=64)] | None = None
    parameters_ref: ParametersReference | None = None


class SupportedFeature(Struct):
    """The name of a feature, as the conformance tests call it."""

    name: str


class GatewayClassStatus(Struct):
    conditions: Annotated[
        list[Condition],
        Meta(
            max_length=8,
            extra_json_schema={
                "default": [
                    {
                        "lastTransitionTime": "1970-01-01T00:00:00Z",
                        "message": "Waiting for controller",
                        "reason": "Pending",
                        "status": "Unknown",
                        "type": "Accepted",
                    }
                ]
            },
        ),
        F(0, list="map", keys=("type",)),
    ] = []
    supported_features: Annotated[
        list[SupportedFeature], Meta(max_length=64), F(0, list="map", keys=("name",))
    ] = []


@custom_resource(
    GROUP,
    plural="gatewayclasses",
    namespaced=False,
    short_names=("gc",),
    categories=("gateway-api",),
    columns=(
        Column("Controller", ".spec.controllerName"),
        Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Description", ".spec.description", priority=1),
    ),
)
class GatewayClass(Object):
    """A kind of Gateways, and the controller that keeps them."""

    api_version: str = always(VERSION)
    kind: str = always("GatewayClass")
    spec: Annotated[GatewayClassSpec, F(0, req=True)] = field(
        default_factory=lambda: GatewayClassSpec(controller_name="")
    )
    status: Annotated[
        GatewayClassStatus,
        Meta(
            extra_json_schema={
                "default": {
                    "conditions": [
                        {
                            "lastTransitionTime": "1970-01-01T00:00:00Z",
                            "message": "Waiting for controller",
                            "reason": "Pending",
                            "status": "Unknown",
                            "type": "Accepted",
                        }
                    ]
                }
            }
        ),
    ] = field(default_factory=GatewayClassStatus)


class GatewaySpecAddress(Struct):
    """An address that is asked for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            'self.type == \'Hostname\' ? (!has(self.value) || self.value.matches(r"""^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$""")): true',
            message="Hostname value must be empty or contain only valid characters (matching ^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$)",
        ),
    )
    type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            pattern=r"^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
        ),
    ] = "IPAddress"
    value: Annotated[str, Meta(max_length=253)] | None = None


class ListenerNamespaces(Struct):
    """From which namespaces sets of listeners may come."""

    from_: Literal["All", "Selector", "Same", "None"] = "None"
    selector: Annotated[LabelSelector | None, F(0, atomic=True)] = None


class AllowedListeners(Struct):
    namespaces: Annotated[
        ListenerNamespaces | None, Meta(extra_json_schema={"default": {"from": "None"}})
    ] = None


class GatewayInfrastructure(Struct):
    """What is put on the objects that a Gateway is made of."""

    annotations: Annotated[
        dict[str, Annotated[str, Meta(min_length=0, max_length=4096)]],
        Meta(max_length=16),
        Rule(
            'self.all(key, key.matches(r"""^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$"""))',
            message="Annotation keys must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters.",
        ),
        Rule(
            'self.all(key, key.split("/")[0].size() < 253)',
            message="If specified, the annotation key's prefix must be a DNS subdomain not longer than 253 characters in total.",
        ),
    ] = {}
    labels: Annotated[
        dict[
            str,
            Annotated[
                str,
                Meta(
                    min_length=0,
                    max_length=63,
                    pattern="^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
                ),
            ],
        ],
        Meta(max_length=8),
        Rule(
            'self.all(key, key.matches(r"""^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$"""))',
            message="Label keys must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters.",
        ),
        Rule(
            'self.all(key, key.split("/")[0].size() < 253)',
            message="If specified, the label key's prefix must be a DNS subdomain not longer than 253 characters in total.",
        ),
    ] = {}
    parameters_ref: LocalObjectReference | None = None


class RouteGroupKind(Struct):
    """A kind of route."""

    kind: Kind
    group: Group = "gateway.networking.k8s.io"


class RouteNamespaces(Struct):
    """From which namespaces routes may come."""

    from_: Literal["All", "Selector", "Same"] = "Same"
    selector: Annotated[LabelSelector | None, F(0, atomic=True)] = None


class AllowedRoutes(Struct):
    """Which routes may attach to a listener."""

    kinds: Annotated[list[RouteGroupKind], Meta(max_length=8), F(0, list="atomic")] = []
    namespaces: Annotated[
        RouteNamespaces | None, Meta(extra_json_schema={"default": {"from": "Same"}})
    ] = None


class SecretObjectReference(Struct):
    """A Secret, by default, maybe in another namespace."""

    name: Name
    group: CoreGroup = ""
    kind: Kind = "Secret"
    namespace: Namespace | None = None


class ListenerTLSConfig(Struct):
    """Whether a listener decrypts, and with what."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.mode == 'Terminate' ? size(self.certificateRefs) > 0 || size(self.options) > 0 : true",
            message="certificateRefs or options must be specified when mode is Terminate",
        ),
    )
    certificate_refs: Annotated[
        list[SecretObjectReference], Meta(max_length=64), F(0, list="atomic")
    ] = []
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    options: Annotated[
        dict[str, Annotated[str, Meta(min_length=0, max_length=4096)]], Meta(max_length=16)
    ] = {}


class Listener(Struct):
    """A port, a protocol and a host name at which requests come."""

    name: SectionName
    port: Port
    protocol: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$",
        ),
    ]
    allowed_routes: Annotated[
        AllowedRoutes | None, Meta(extra_json_schema={"default": {"namespaces": {"from": "Same"}}})
    ] = None
    hostname: Hostname | None = None
    tls: ListenerTLSConfig | None = None


class GatewayBackendTLS(Struct):
    """What a Gateway shows to its backends."""

    client_certificate_ref: SecretObjectReference | None = None


class FrontendTLSValidation(Struct):
    """Whose client certificates are accepted."""

    ca_certificate_refs: Annotated[
        list[ParametersReference], Meta(min_length=1, max_length=16), F(0, list="atomic")
    ]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class TLSConfig(Struct):
    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Struct):
    """What holds for one port instead of the default."""

    port: Port
    tls: TLSConfig


class FrontendTLSConfig(Struct):
    """How clients are checked."""

    default: TLSConfig
    per_port: Annotated[
        list[TLSPortConfig],
        Meta(max_length=64),
        F(0, list="map", keys=("port",)),
        Rule(
            "self.all(t1, self.exists_one(t2, t1.port == t2.port))",
            message="Port for TLS configuration must be unique within the Gateway",
        ),
    ] = []


class GatewayTLSConfig(Struct):
    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class GatewaySpec(Struct):
    gateway_class_name: Name
    listeners: Annotated[
        list[Listener],
        Meta(min_length=1, max_length=64),
        F(0, list="map", keys=("name",)),
        Rule(
            "self.all(l, l.protocol in ['HTTP', 'TCP', 'UDP'] ? !has(l.tls) : true)",
            message="tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
        ),
        Rule(
            "self.all(l, (l.protocol == 'HTTPS' && has(l.tls)) ? (l.tls.mode == '' || l.tls.mode == 'Terminate') : true)",
            message="tls mode must be Terminate for protocol HTTPS",
        ),
        Rule(
            "self.all(l, (l.protocol == 'TLS' ? has(l.tls) && has(l.tls.mode) && l.tls.mode != '' : true))",
            message="tls mode must be set for protocol TLS",
        ),
        Rule(
            "self.all(l, l.protocol in ['TCP', 'UDP']  ? (!has(l.hostname) || l.hostname == '') : true)",
            message="hostname must not be specified for protocols ['TCP', 'UDP']",
        ),
        Rule(
            "self.all(l1, self.exists_one(l2, l1.name == l2.name))",
            message="Listener name must be unique within the Gateway",
        ),
        Rule(
            "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : !has(l1.hostname) && !has(l2.hostname))))",
            message="Combination of port, protocol and hostname must be unique for each listener",
        ),
    ]
    addresses: Annotated[
        list[Annotated[GatewaySpecAddress, Meta(extra_json_schema=_ADDRESS)]],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "self.all(a1, a1.type == 'IPAddress' && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true )",
            message="IPAddress values must be unique",
        ),
        Rule(
            "self.all(a1, a1.type == 'Hostname'  && has(a1.value) ? self.exists_one(a2, a2.type == a1.type && has(a2.value) && a2.value == a1.value) : true )",
            message="Hostname values must be unique",
        ),
    ] = []
    allowed_listeners: AllowedListeners | None = None
    infrastructure: GatewayInfrastructure | None = None
    tls: GatewayTLSConfig | None = None


class GatewayStatusAddress(Struct):
    """An address at which the Gateway answers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            'self.type == \'Hostname\' ? self.value.matches(r"""^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"""): true',
            message="Hostname value must only contain valid characters (matching ^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$)",
        ),
    )
    value: Name
    type: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            pattern=r"^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
        ),
    ] = "IPAddress"


class ListenerStatus(Struct):
    """How one listener is, and how many routes it has."""

    attached_routes: Annotated[int, Meta(extra_json_schema={"format": "int32"})]
    conditions: Annotated[list[Condition], Meta(max_length=8), F(0, list="map", keys=("type",))]
    name: SectionName
    supported_kinds: Annotated[list[RouteGroupKind], Meta(max_length=8), F(0, list="atomic")] = []


class GatewayStatus(Struct):
    addresses: Annotated[
        list[Annotated[GatewayStatusAddress, Meta(extra_json_schema=_ADDRESS)]],
        Meta(max_length=16),
        F(0, list="atomic"),
    ] = []
    attached_listener_sets: Annotated[int, Meta(extra_json_schema={"format": "int32"})] | None = (
        None
    )
    conditions: Annotated[
        list[Condition],
        Meta(
            max_length=8,
            extra_json_schema={
                "default": [
                    {
                        "lastTransitionTime": "1970-01-01T00:00:00Z",
                        "message": "Waiting for controller",
                        "reason": "Pending",
                        "status": "Unknown",
                        "type": "Accepted",
                    },
                    {
                        "lastTransitionTime": "1970-01-01T00:00:00Z",
                        "message": "Waiting for controller",
                        "reason": "Pending",
                        "status": "Unknown",
                        "type": "Programmed",
                    },
                ]
            },
        ),
        F(0, list="map", keys=("type",)),
    ] = []
    listeners: Annotated[
        list[ListenerStatus], Meta(max_length=64), F(0, list="map", keys=("name",))
    ] = []


@custom_resource(
    GROUP,
    plural="gateways",
    short_names=("gtw",),
    categories=("gateway-api",),
    columns=(
        Column("Class", ".spec.gatewayClassName"),
        Column("Address", ".status.addresses[*].value"),
        Column("Programmed", '.status.conditions[?(@.type=="Programmed")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class Gateway(Object):
    """Where traffic enters: an address with listeners."""

    api_version: str = always(VERSION)
    kind: str = always("Gateway")
    spec: Annotated[GatewaySpec, F(0, req=True)] = field(
        default_factory=lambda: GatewaySpec(gateway_class_name="", listeners=[])
    )
    status: Annotated[
        GatewayStatus,
        Meta(
            extra_json_schema={
                "default": {
                    "conditions": [
                        {
                            "lastTransitionTime": "1970-01-01T00:00:00Z",
                            "message": "Waiting for controller",
                            "reason": "Pending",
                            "status": "Unknown",
                            "type": "Accepted",
                        },
                        {
                            "lastTransitionTime": "1970-01-01T00:00:00Z",
                            "message": "Waiting for controller",
                            "reason": "Pending",
                            "status": "Unknown",
                            "type": "Programmed",
                        },
                    ]
                }
            }
        ),
    ] = field(default_factory=GatewayStatus)
