"""HTTPRoute."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.gateway import GROUP, VERSION
from tiphys.addons.gateway.types.shared import (
    CoreGroup,
    Duration,
    HeaderMatch,
    HeaderName,
    Hostname,
    HTTPHeaderFilter,
    Kind,
    LocalObjectReference,
    Name,
    Namespace,
    ParentReference,
    Port,
    RequestMirrorFilter,
    RouteStatus,
    SectionName,
)
from tiphys.api.base import F, Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, Rule, custom_resource


class HTTPCORSFilter(Struct):
    """What pages of other origins may ask for."""

    allow_credentials: bool | None = None
    allow_headers: Annotated[
        list[HeaderName],
        Meta(max_length=64),
        F(0, list="set"),
        Rule(
            "!('*' in self && self.size() > 1)",
            message="AllowHeaders cannot contain '*' alongside other methods",
        ),
    ] = []
    allow_methods: Annotated[
        list[
            Literal[
                "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"
            ]
        ],
        Meta(max_length=9),
        F(0, list="set"),
        Rule(
            "!('*' in self && self.size() > 1)",
            message="AllowMethods cannot contain '*' alongside other methods",
        ),
    ] = []
    allow_origins: Annotated[
        list[
            Annotated[
                str,
                Meta(
                    min_length=1,
                    max_length=253,
                    pattern=r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)",
                ),
            ]
        ],
        Meta(max_length=64),
        F(0, list="set"),
        Rule(
            "!('*' in self && self.size() > 1)",
            message="AllowOrigins cannot contain '*' alongside other origins",
        ),
    ] = []
    expose_headers: Annotated[list[HeaderName], Meta(max_length=64), F(0, list="set")] = []
    max_age: Annotated[int, Meta(ge=1, extra_json_schema={"format": "int32"})] = 5


class HTTPPathModifier(Struct):
    """The path that replaces another, whole or in its prefix."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'ReplaceFullPath' ? has(self.replaceFullPath) : true",
            message="replaceFullPath must be specified when type is set to 'ReplaceFullPath'",
        ),
        Rule(
            "has(self.replaceFullPath) ? self.type == 'ReplaceFullPath' : true",
            message="type must be 'ReplaceFullPath' when replaceFullPath is set",
        ),
        Rule(
            "self.type == 'ReplacePrefixMatch' ? has(self.replacePrefixMatch) : true",
            message="replacePrefixMatch must be specified when type is set to 'ReplacePrefixMatch'",
        ),
        Rule(
            "has(self.replacePrefixMatch) ? self.type == 'ReplacePrefixMatch' : true",
            message="type must be 'ReplacePrefixMatch' when replacePrefixMatch is set",
        ),
    )
    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, Meta(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, Meta(max_length=1024)] | None = None


class HTTPRequestRedirectFilter(Struct):
    """Where the client is sent instead."""

    hostname: SectionName | None = None
    path: HTTPPathModifier | None = None
    port: Port | None = None
    scheme: Literal["http", "https"] | None = None
    status_code: Annotated[
        int, Meta(extra_json_schema={"enum": [301, 302, 303, 307, 308], "format": ""})
    ] = 302


class HTTPURLRewriteFilter(Struct):
    """Host and path that the backend sees."""

    hostname: SectionName | None = None
    path: HTTPPathModifier | None = None


class HTTPRouteFilter(Struct):
    """Something that is done to requests or responses."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.cors) && self.type != 'CORS')",
            message="filter.cors must be nil if the filter.type is not CORS",
        ),
        Rule(
            "!(!has(self.cors) && self.type == 'CORS')",
            message="filter.cors must be specified for CORS filter.type",
        ),
        Rule(
            "!(has(self.requestHeaderModifier) && self.type != 'RequestHeaderModifier')",
            message="filter.requestHeaderModifier must be nil if the filter.type is not RequestHeaderModifier",
        ),
        Rule(
            "!(!has(self.requestHeaderModifier) && self.type == 'RequestHeaderModifier')",
            message="filter.requestHeaderModifier must be specified for RequestHeaderModifier filter.type",
        ),
        Rule(
            "!(has(self.responseHeaderModifier) && self.type != 'ResponseHeaderModifier')",
            message="filter.responseHeaderModifier must be nil if the filter.type is not ResponseHeaderModifier",
        ),
        Rule(
            "!(!has(self.responseHeaderModifier) && self.type == 'ResponseHeaderModifier')",
            message="filter.responseHeaderModifier must be specified for ResponseHeaderModifier filter.type",
        ),
        Rule(
            "!(has(self.requestMirror) && self.type != 'RequestMirror')",
            message="filter.requestMirror must be nil if the filter.type is not RequestMirror",
        ),
        Rule(
            "!(!has(self.requestMirror) && self.type == 'RequestMirror')",
            message="filter.requestMirror must be specified for RequestMirror filter.type",
        ),
        Rule(
            "!(has(self.requestRedirect) && self.type != 'RequestRedirect')",
            message="filter.requestRedirect must be nil if the filter.type is not RequestRedirect",
        ),
        Rule(
            "!(!has(self.requestRedirect) && self.type == 'RequestRedirect')",
            message="filter.requestRedirect must be specified for RequestRedirect filter.type",
        ),
        Rule(
            "!(has(self.urlRewrite) && self.type != 'URLRewrite')",
            message="filter.urlRewrite must be nil if the filter.type is not URLRewrite",
        ),
        Rule(
            "!(!has(self.urlRewrite) && self.type == 'URLRewrite')",
            message="filter.urlRewrite must be specified for URLRewrite filter.type",
        ),
        Rule(
            "!(has(self.extensionRef) && self.type != 'ExtensionRef')",
            message="filter.extensionRef must be nil if the filter.type is not ExtensionRef",
        ),
        Rule(
            "!(!has(self.extensionRef) && self.type == 'ExtensionRef')",
            message="filter.extensionRef must be specified for ExtensionRef filter.type",
        ),
    )
    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
    ]
    cors: HTTPCORSFilter | None = None
    extension_ref: LocalObjectReference | None = None
    request_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: RequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None


class HTTPBackendRef(Struct):
    """A backend, its share, and what is done to requests on their way to it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(size(self.group) == 0 && self.kind == 'Service') ? has(self.port) : true",
            message="Must have port for Service reference",
        ),
    )
    name: Name
    filters: Annotated[
        list[HTTPRouteFilter],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
            message="May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
        ),
        Rule(
            "self.filter(f, f.type == 'CORS').size() <= 1", message="CORS filter cannot be repeated"
        ),
        Rule(
            "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            message="RequestHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            message="ResponseHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'RequestRedirect').size() <= 1",
            message="RequestRedirect filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'URLRewrite').size() <= 1",
            message="URLRewrite filter cannot be repeated",
        ),
    ] = []
    group: CoreGroup = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: Port | None = None
    weight: Annotated[int, Meta(ge=0, le=1000000, extra_json_schema={"format": "int32"})] = 1


class HTTPPathMatch(Struct):
    """What the path must be."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? self.value.startsWith('/') : true",
            message="value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('//') : true",
            message="must not contain '//' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('/./') : true",
            message="must not contain '/./' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('/../') : true",
            message="must not contain '/../' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('%2f') : true",
            message="must not contain '%2f' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('%2F') : true",
            message="must not contain '%2F' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.contains('#') : true",
            message="must not contain '#' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.endsWith('/..') : true",
            message="must not end with '/..' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "(self.type in ['Exact','PathPrefix']) ? !self.value.endsWith('/.') : true",
            message="must not end with '/.' when type one of ['Exact', 'PathPrefix']",
        ),
        Rule(
            "self.type in ['Exact','PathPrefix'] || self.type == 'RegularExpression'",
            message="type must be one of ['Exact', 'PathPrefix', 'RegularExpression']",
        ),
        Rule(
            '(self.type in [\'Exact\',\'PathPrefix\']) ? self.value.matches(r"""^(?:[-A-Za-z0-9/._~!$&\'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""") : true',
            message="must only contain valid characters (matching ^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$) for types ['Exact', 'PathPrefix']",
        ),
    )
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Meta(max_length=1024)] = "/"


class HTTPQueryParamMatch(Struct):
    """A parameter that the query must have."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class HTTPRouteMatch(Struct):
    """What must all hold of a request."""

    headers: Annotated[
        list[HeaderMatch], Meta(max_length=16), F(0, list="map", keys=("name",))
    ] = []
    method: (
        Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
        | None
    ) = None
    path: Annotated[
        HTTPPathMatch | None,
        Meta(extra_json_schema={"default": {"type": "PathPrefix", "value": "/"}}),
    ] = None
    query_params: Annotated[
        list[HTTPQueryParamMatch], Meta(max_length=16), F(0, list="map", keys=("name",))
    ] = []


class HTTPRouteTimeouts(Struct):
    """How long a request may take, in all and at each attempt."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.request) && has(self.backendRequest) && duration(self.request) != duration('0s') && duration(self.backendRequest) > duration(self.request))",
            message="backendRequest timeout cannot be longer than request timeout",
        ),
    )
    backend_request: Duration | None = None
    request: Duration | None = None


class HTTPRouteRule(Struct):
    """Requests that match any of the matches go to the backends."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.backendRefs) && size(self.backendRefs) > 0) ? (!has(self.filters) || self.filters.all(f, !has(f.requestRedirect))): true",
            message="RequestRedirect filter must not be used together with backendRefs",
        ),
        Rule(
            "(has(self.filters) && self.filters.exists_one(f, has(f.requestRedirect) && has(f.requestRedirect.path) && f.requestRedirect.path.type == 'ReplacePrefixMatch' && has(f.requestRedirect.path.replacePrefixMatch))) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
            message="When using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
        ),
        Rule(
            "(has(self.filters) && self.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch' && has(f.urlRewrite.path.replacePrefixMatch))) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
            message="When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
        ),
        Rule(
            "(has(self.backendRefs) && self.backendRefs.exists_one(b, (has(b.filters) && b.filters.exists_one(f, has(f.requestRedirect) && has(f.requestRedirect.path) && f.requestRedirect.path.type == 'ReplacePrefixMatch' && has(f.requestRedirect.path.replacePrefixMatch))) )) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
            message="Within backendRefs, when using RequestRedirect filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
        ),
        Rule(
            "(has(self.backendRefs) && self.backendRefs.exists_one(b, (has(b.filters) && b.filters.exists_one(f, has(f.urlRewrite) && has(f.urlRewrite.path) && f.urlRewrite.path.type == 'ReplacePrefixMatch' && has(f.urlRewrite.path.replacePrefixMatch))) )) ? ((size(self.matches) != 1 || !has(self.matches[0].path) || self.matches[0].path.type != 'PathPrefix') ? false : true) : true",
            message="Within backendRefs, When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
        ),
    )
    backend_refs: Annotated[list[HTTPBackendRef], Meta(max_length=16), F(0, list="atomic")] = []
    filters: Annotated[
        list[HTTPRouteFilter],
        Meta(max_length=16),
        F(0, list="atomic"),
        Rule(
            "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
            message="May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
        ),
        Rule(
            "self.filter(f, f.type == 'CORS').size() <= 1", message="CORS filter cannot be repeated"
        ),
        Rule(
            "self.filter(f, f.type == 'RequestHeaderModifier').size() <= 1",
            message="RequestHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'ResponseHeaderModifier').size() <= 1",
            message="ResponseHeaderModifier filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'RequestRedirect').size() <= 1",
            message="RequestRedirect filter cannot be repeated",
        ),
        Rule(
            "self.filter(f, f.type == 'URLRewrite').size() <= 1",
            message="URLRewrite filter cannot be repeated",
        ),
    ] = []
    matches: Annotated[
        list[HTTPRouteMatch],
        Meta(
            max_length=64,
            extra_json_schema={"default": [{"path": {"type": "PathPrefix", "value": "/"}}]},
        ),
        F(0, list="atomic"),
    ] = []
    name: SectionName | None = None
    timeouts: HTTPRouteTimeouts | None = None


class HTTPRouteSpec(Struct):
    hostnames: Annotated[list[Hostname], Meta(max_length=16), F(0, list="atomic")] = []
    parent_refs: Annotated[
        list[ParentReference],
        Meta(max_length=32),
        F(0, list="atomic"),
        Rule(
            "self.all(p1, self.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) ? ((!has(p1.sectionName) || p1.sectionName == '') == (!has(p2.sectionName) || p2.sectionName == '')) : true))",
            message="sectionName must be specified when parentRefs includes 2 or more references to the same parent",
        ),
        Rule(
            "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || p1.__namespace__ == '') && (!has(p2.__namespace__) || p2.__namespace__ == '')) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__ )) && (((!has(p1.sectionName) || p1.sectionName == '') && (!has(p2.sectionName) || p2.sectionName == '')) || (has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))",
            message="sectionName must be unique when parentRefs includes 2 or more references to the same parent",
        ),
    ] = []
    rules: Annotated[
        list[HTTPRouteRule],
        Meta(
            min_length=1,
            max_length=16,
            extra_json_schema={
                "default": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
            },
        ),
        F(0, list="atomic"),
        Rule(
            "(self.size() > 0 ? self[0].matches.size() : 0) + (self.size() > 1 ? self[1].matches.size() : 0) + (self.size() > 2 ? self[2].matches.size() : 0) + (self.size() > 3 ? self[3].matches.size() : 0) + (self.size() > 4 ? self[4].matches.size() : 0) + (self.size() > 5 ? self[5].matches.size() : 0) + (self.size() > 6 ? self[6].matches.size() : 0) + (self.size() > 7 ? self[7].matches.size() : 0) + (self.size() > 8 ? self[8].matches.size() : 0) + (self.size() > 9 ? self[9].matches.size() : 0) + (self.size() > 10 ? self[10].matches.size() : 0) + (self.size() > 11 ? self[11].matches.size() : 0) + (self.size() > 12 ? self[12].matches.size() : 0) + (self.size() > 13 ? self[13].matches.size() : 0) + (self.size() > 14 ? self[14].matches.size() : 0) + (self.size() > 15 ? self[15].matches.size() : 0) <= 128",
            message="While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must be less than 128",
        ),
    ] = []


@custom_resource(
    GROUP,
    plural="httproutes",
    categories=("gateway-api",),
    columns=(
        Column("Hostnames", ".spec.hostnames"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class HTTPRoute(Object):
    """Which requests go where."""

    api_version: str = always(VERSION)
    kind: str = always("HTTPRoute")
    spec: Annotated[HTTPRouteSpec, F(0, req=True)] = field(default_factory=lambda: HTTPRouteSpec())
    status: RouteStatus = field(default_factory=RouteStatus)
