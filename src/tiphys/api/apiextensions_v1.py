"""Types of apiextensions.k8s.io/v1: names, tags, keys and defaults from the published API of
release 1.36."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import field

from tiphys.api.base import (
    JSON,
    F,
    Int32,
    Int64,
    RawExtension,
    Struct,
    Time,
    always,
    always_list,
    named,
)
from tiphys.api.meta_v1 import ListMeta, Object, Status, TypeMeta


class ConversionRequest(Struct):
    uid: Annotated[str, F(1)] = always("")
    desired_api_version: Annotated[str, F(2)] = named("desiredAPIVersion", factory=lambda: "")
    objects: Annotated[list[RawExtension], F(3)] = always_list()


class ConversionResponse(Struct):
    uid: Annotated[str, F(1)] = always("")
    converted_objects: Annotated[list[RawExtension], F(2)] = always_list()
    result: Annotated[Status, F(3)] = field(default_factory=Status)


class ConversionReview(TypeMeta):
    api_version: str = always("apiextensions.k8s.io/v1")
    kind: str = always("ConversionReview")
    request: Annotated[ConversionRequest | None, F(1)] = None
    response: Annotated[ConversionResponse | None, F(2)] = None


class CustomResourceColumnDefinition(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    type: Annotated[str, F(2, req=True)] = always("")
    format: Annotated[str, F(3)] = ""
    description: Annotated[str, F(4)] = ""
    priority: Annotated[Int32, F(5)] = 0
    json_path: Annotated[str, F(6, req=True)] = always("")


class CustomResourceConversion(Struct):
    strategy: Annotated[str, F(1, req=True)] = always("")
    webhook: Annotated[WebhookConversion | None, F(2)] = None


class CustomResourceDefinitionNames(Struct):
    plural: Annotated[str, F(1, req=True)] = always("")
    singular: Annotated[str, F(2)] = ""
    short_names: Annotated[list[str], F(3, list="atomic")] = []
    kind: Annotated[str, F(4, req=True)] = always("")
    list_kind: Annotated[str, F(5)] = ""
    categories: Annotated[list[str], F(6, list="atomic")] = []


class CustomResourceDefinitionSpec(Struct):
    group: Annotated[str, F(1, req=True)] = always("")
    names: Annotated[CustomResourceDefinitionNames, F(3, req=True)] = field(
        default_factory=CustomResourceDefinitionNames
    )
    scope: Annotated[str, F(4, req=True)] = always("")
    versions: Annotated[list[CustomResourceDefinitionVersion], F(7, list="atomic", req=True)] = (
        always_list()
    )
    conversion: Annotated[CustomResourceConversion | None, F(9)] = None
    preserve_unknown_fields: Annotated[bool, F(10)] = False


class CustomResourceDefinitionStatus(Struct):
    conditions: Annotated[
        list[CustomResourceDefinitionCondition], F(1, list="map", keys=("type",))
    ] = always_list()
    accepted_names: Annotated[CustomResourceDefinitionNames, F(2)] = field(
        default_factory=CustomResourceDefinitionNames
    )
    stored_versions: Annotated[list[str], F(3, list="atomic")] = always_list()
    observed_generation: Annotated[Int64, F(4)] = 0


class CustomResourceDefinition(Object):
    api_version: str = always("apiextensions.k8s.io/v1")
    kind: str = always("CustomResourceDefinition")
    spec: Annotated[CustomResourceDefinitionSpec, F(2, req=True)] = field(
        default_factory=CustomResourceDefinitionSpec
    )
    status: Annotated[CustomResourceDefinitionStatus, F(3)] = field(
        default_factory=CustomResourceDefinitionStatus
    )


class CustomResourceDefinitionCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    last_transition_time: Annotated[Time | None, F(3)] = None
    reason: Annotated[str, F(4)] = ""
    message: Annotated[str, F(5)] = ""
    observed_generation: Annotated[Int64, F(6)] = 0


class CustomResourceDefinitionList(TypeMeta):
    api_version: str = always("apiextensions.k8s.io/v1")
    kind: str = always("CustomResourceDefinitionList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CustomResourceDefinition], F(2, req=True)] = always_list()


class CustomResourceDefinitionVersion(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    served: Annotated[bool, F(2, req=True)] = always(False)
    storage: Annotated[bool, F(3, req=True)] = always(False)
    deprecated: Annotated[bool, F(7)] = False
    deprecation_warning: Annotated[str | None, F(8)] = None
    schema: Annotated[CustomResourceValidation | None, F(4)] = None
    subresources: Annotated[CustomResourceSubresources | None, F(5)] = None
    additional_printer_columns: Annotated[
        list[CustomResourceColumnDefinition], F(6, list="atomic")
    ] = []
    selectable_fields: Annotated[list[SelectableField], F(9, list="atomic")] = []


class CustomResourceSubresourceScale(Struct):
    spec_replicas_path: Annotated[str, F(1, req=True)] = always("")
    status_replicas_path: Annotated[str, F(2, req=True)] = always("")
    label_selector_path: Annotated[str | None, F(3)] = None


class CustomResourceSubresourceStatus(Struct):
    pass


class CustomResourceSubresources(Struct):
    status: Annotated[CustomResourceSubresourceStatus | None, F(1)] = None
    scale: Annotated[CustomResourceSubresourceScale | None, F(2)] = None


class CustomResourceValidation(Struct):
    open_apiv3_schema: Annotated[JSONSchemaProps | None, F(1)] = named("openAPIV3Schema", None)


class ExternalDocumentation(Struct):
    description: Annotated[str, F(1)] = ""
    url: Annotated[str, F(2)] = ""


class JSONSchemaProps(Struct, eq=False):
    # A definition has tens of thousands of these. msgspec makes or compares them all in one call
    # of C, which holds the interpreter for 60 to 150 ms; these two methods are where another
    # thread, the event loop's, gets it back in between.

    def __post_init__(self) -> None:
        """Nothing to do but to be a step of the interpreter."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, JSONSchemaProps):
            return NotImplemented
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    id: Annotated[str, F(1)] = ""
    schema: Annotated[str, F(2)] = named("$schema", "")
    ref: Annotated[str | None, F(3)] = named("$ref", None)
    description: Annotated[str, F(4)] = ""
    type: Annotated[str, F(5)] = ""
    format: Annotated[str, F(6)] = ""
    title: Annotated[str, F(7)] = ""
    default: Annotated[JSON, F(8)] = None
    maximum: Annotated[int | float | None, F(9)] = None
    exclusive_maximum: Annotated[bool, F(10)] = False
    minimum: Annotated[int | float | None, F(11)] = None
    exclusive_minimum: Annotated[bool, F(12)] = False
    max_length: Annotated[Int64 | None, F(13)] = None
    min_length: Annotated[Int64 | None, F(14)] = None
    pattern: Annotated[str, F(15)] = ""
    max_items: Annotated[Int64 | None, F(16)] = None
    min_items: Annotated[Int64 | None, F(17)] = None
    unique_items: Annotated[bool, F(18)] = False
    multiple_of: Annotated[int | float | None, F(19)] = None
    enum: Annotated[list[JSON], F(20, list="atomic")] = []
    max_properties: Annotated[Int64 | None, F(21)] = None
    min_properties: Annotated[Int64 | None, F(22)] = None
    required: Annotated[list[str], F(23, list="atomic")] = []
    items: Annotated[JSONSchemaProps | list[JSONSchemaProps] | None, F(24)] = None
    all_of: Annotated[list[JSONSchemaProps], F(25, list="atomic")] = []
    one_of: Annotated[list[JSONSchemaProps], F(26, list="atomic")] = []
    any_of: Annotated[list[JSONSchemaProps], F(27, list="atomic")] = []
    not_: Annotated[JSONSchemaProps | None, F(28)] = None
    properties: Annotated[dict[str, JSONSchemaProps], F(29)] = {}
    additional_properties: Annotated[JSONSchemaProps | bool | None, F(30)] = None
    pattern_properties: Annotated[dict[str, JSONSchemaProps], F(31)] = {}
    dependencies: Annotated[dict[str, JSONSchemaProps | list[str]], F(32)] = {}
    additional_items: Annotated[JSONSchemaProps | bool | None, F(33)] = None
    definitions: Annotated[dict[str, JSONSchemaProps], F(34)] = {}
    external_docs: Annotated[ExternalDocumentation | None, F(35)] = None
    example: Annotated[JSON, F(36)] = None
    nullable: Annotated[bool, F(37)] = False
    x_kubernetes_preserve_unknown_fields: Annotated[bool | None, F(38)] = named(
        "x-kubernetes-preserve-unknown-fields", None
    )
    x_kubernetes_embedded_resource: Annotated[bool, F(39)] = named(
        "x-kubernetes-embedded-resource", False
    )
    x_kubernetes_int_or_string: Annotated[bool, F(40)] = named("x-kubernetes-int-or-string", False)
    x_kubernetes_list_map_keys: Annotated[list[str], F(41, list="atomic")] = named(
        "x-kubernetes-list-map-keys", factory=list
    )
    x_kubernetes_list_type: Annotated[str | None, F(42)] = named("x-kubernetes-list-type", None)
    x_kubernetes_map_type: Annotated[str | None, F(43)] = named("x-kubernetes-map-type", None)
    x_kubernetes_validations: Annotated[
        list[ValidationRule], F(44, patch="merge", key="rule", list="map", keys=("rule",))
    ] = named("x-kubernetes-validations", factory=list)


class SelectableField(Struct):
    json_path: Annotated[str, F(1, req=True)] = always("")


class ServiceReference(Struct):
    namespace: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(2, req=True)] = always("")
    path: Annotated[str | None, F(3)] = None
    port: Annotated[Int32 | None, F(4)] = None


class ValidationRule(Struct):
    rule: Annotated[str, F(1, req=True)] = always("")
    message: Annotated[str, F(2)] = ""
    message_expression: Annotated[str, F(3)] = ""
    reason: Annotated[str | None, F(4)] = None
    field_path: Annotated[str, F(5)] = ""
    optional_old_self: Annotated[bool | None, F(6)] = None


class WebhookClientConfig(Struct):
    url: Annotated[str | None, F(3)] = None
    service: Annotated[ServiceReference | None, F(1)] = None
    ca_bundle: Annotated[bytes, F(2)] = b""


class WebhookConversion(Struct):
    client_config: Annotated[WebhookClientConfig | None, F(2)] = None
    conversion_review_versions: Annotated[list[str], F(3, list="atomic", req=True)] = always_list()
