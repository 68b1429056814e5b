"""ReferenceGrant and BackendTLSPolicy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.gateway import GROUP, VERSION
from tiphys.addons.gateway.types.shared import (
    ControllerName,
    Group,
    Hostname,
    Kind,
    LocalObjectReference,
    Name,
    Namespace,
    ParentReference,
    SectionName,
)
from tiphys.api.base import F, Struct, always, always_list
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, Rule, custom_resource


class ReferenceGrantFrom(Struct):
    """Whose references are allowed."""

    group: Group
    kind: Kind
    namespace: Namespace


class ReferenceGrantTo(Struct):
    """What may be referred to."""

    group: Group
    kind: Kind
    name: Name | None = None


class ReferenceGrantSpec(Struct):
    from_: Annotated[
        list[ReferenceGrantFrom], Meta(min_length=1, max_length=16), F(0, list="atomic")
    ]
    to: Annotated[list[ReferenceGrantTo], Meta(min_length=1, max_length=16), F(0, list="atomic")]


@custom_resource(
    GROUP,
    plural="referencegrants",
    short_names=("refgrant",),
    categories=("gateway-api",),
    columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
)
class ReferenceGrant(Object):
    """Allows references into its namespace from others."""

    api_version: str = always(VERSION)
    kind: str = always("ReferenceGrant")
    spec: Annotated[ReferenceGrantSpec, F(0, req=True)] = field(
        default_factory=lambda: ReferenceGrantSpec(from_=[], to=[])
    )


class PolicyTarget(Struct):
    """What a policy is about: a Service, or one port of it."""

    group: Group
    kind: Kind
    name: Name
    section_name: SectionName | None = None


class SubjectAltName(Struct):
    """A name that the certificate of a backend must have."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            '!(self.type == "Hostname" && (!has(self.hostname) || self.hostname == ""))',
            message="SubjectAltName element must contain Hostname, if Type is set to Hostname",
        ),
        Rule(
            '!(self.type != "Hostname" && has(self.hostname) && self.hostname != "")',
            message="SubjectAltName element must not contain Hostname, if Type is not set to Hostname",
        ),
        Rule(
            '!(self.type == "URI" && (!has(self.uri) || self.uri == ""))',
            message="SubjectAltName element must contain URI, if Type is set to URI",
        ),
        Rule(
            '!(self.type != "URI" && has(self.uri) && self.uri != "")',
            message="SubjectAltName element must not contain URI, if Type is not set to URI",
        ),
    )
    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                pattern=r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?",
            ),
        ]
        | None
    ) = None


class BackendTLSValidation(Struct):
    """How the certificate of a backend is checked, and the name it is asked for."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            '!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")',
            message="must not contain both CACertificateRefs and WellKnownCACertificates",
        ),
        Rule(
            '(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 || has(self.wellKnownCACertificates) && self.wellKnownCACertificates != "")',
            message="must specify either CACertificateRefs or WellKnownCACertificates",
        ),
    )
    hostname: SectionName
    ca_certificate_refs: Annotated[
        list[LocalObjectReference], Meta(max_length=8), F(0, list="atomic")
    ] = []
    subject_alt_names: Annotated[list[SubjectAltName], Meta(max_length=5), F(0, list="atomic")] = []
    well_known_ca_certificates: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                pattern=r"^(System|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]))$",
            ),
        ]
        | None
    ) = field(name="wellKnownCACertificates", default=None)


class BackendTLSPolicySpec(Struct):
    target_refs: Annotated[
        list[PolicyTarget],
        Meta(min_length=1, max_length=16),
        F(0, list="atomic"),
        Rule(
            "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '')) : true))",
            message="sectionName must be specified when targetRefs includes 2 or more references to the same target",
        ),
        Rule(
            "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || (has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))",
            message="sectionName must be unique when targetRefs includes 2 or more references to the same target",
        ),
    ]
    validation: BackendTLSValidation
    options: Annotated[
        dict[str, Annotated[str, Meta(min_length=0, max_length=4096)]], Meta(max_length=16)
    ] = {}


class PolicyAncestorStatus(Struct):
    """What one controller has to say of a policy for one Gateway."""

    ancestor_ref: ParentReference
    conditions: Annotated[
        list[Condition], Meta(min_length=1, max_length=8), F(0, list="map", keys=("type",))
    ]
    controller_name: ControllerName


class PolicyStatus(Struct):
    ancestors: Annotated[
        list[PolicyAncestorStatus], Meta(max_length=16), F(0, list="atomic", req=True)
    ] = always_list()


@custom_resource(
    GROUP,
    plural="backendtlspolicies",
    short_names=("btlspolicy",),
    categories=("gateway-api",),
    columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
)
class BackendTLSPolicy(Object):
    """How a Gateway talks TLS to a Service."""

    api_version: str = always(VERSION)
    kind: str = always("BackendTLSPolicy")
    spec: Annotated[BackendTLSPolicySpec, F(0, req=True)] = field(
        default_factory=lambda: BackendTLSPolicySpec(
            target_refs=[], validation=BackendTLSValidation(hostname="")
        )
    )
    status: PolicyStatus = field(default_factory=PolicyStatus)
