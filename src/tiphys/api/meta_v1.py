"""Types of meta/v1: names, tags, keys and defaults from the published API of release 1.36."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from tiphys.api.base import F, Int32, Int64, RawExtension, Struct, Time, always, always_list, named


class GroupVersionForDiscovery(Struct):
    group_version: Annotated[str, F(1, req=True)] = always("")
    version: Annotated[str, F(2, req=True)] = always("")


class TypeMeta(Struct):
    """Base of everything that names its kind."""

    api_version: str = ""
    kind: str = ""


class APIGroup(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("APIGroup")
    name: Annotated[str, F(1, req=True)] = always("")
    versions: Annotated[list[GroupVersionForDiscovery], F(2, list="atomic", req=True)] = (
        always_list()
    )
    preferred_version: Annotated[GroupVersionForDiscovery, F(3)] = field(
        default_factory=GroupVersionForDiscovery
    )
    server_address_by_client_cidrs: Annotated[
        list[ServerAddressByClientCIDR], F(4, list="atomic")
    ] = named("serverAddressByClientCIDRs", factory=list)


class APIGroupList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("APIGroupList")
    groups: Annotated[list[APIGroup], F(1, list="atomic", req=True)] = always_list()


class APIResource(Struct):
    name: Annotated[str, F(1, req=True)] = always("")
    singular_name: Annotated[str, F(6, req=True)] = always("")
    namespaced: Annotated[bool, F(2, req=True)] = always(False)
    group: Annotated[str, F(8)] = ""
    version: Annotated[str, F(9)] = ""
    kind: Annotated[str, F(3, req=True)] = always("")
    verbs: Annotated[list[str], F(4, req=True)] = always_list()
    short_names: Annotated[list[str], F(5, list="atomic")] = []
    categories: Annotated[list[str], F(7, list="atomic")] = []
    storage_version_hash: Annotated[str, F(10)] = ""


class APIResourceList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("APIResourceList")
    group_version: Annotated[str, F(1, req=True)] = always("")
    resources: Annotated[list[APIResource], F(2, list="atomic", req=True)] = always_list()


class APIVersions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("APIVersions")
    versions: Annotated[list[str], F(1, list="atomic", req=True)] = always_list()
    server_address_by_client_cidrs: Annotated[
        list[ServerAddressByClientCIDR], F(2, list="atomic", req=True)
    ] = named("serverAddressByClientCIDRs", factory=list)


class ApplyOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ApplyOptions")
    dry_run: Annotated[list[str], F(1)] = []
    force: Annotated[bool, F(2)] = always(False)
    field_manager: Annotated[str, F(3)] = always("")


class Condition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(2, req=True)] = always("")
    observed_generation: Annotated[Int64, F(3)] = 0
    last_transition_time: Annotated[Time | None, F(4, req=True)] = None
    reason: Annotated[str, F(5, req=True)] = always("")
    message: Annotated[str, F(6, req=True)] = always("")


class CreateOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("CreateOptions")
    dry_run: Annotated[list[str], F(1)] = []
    field_manager: Annotated[str, F(3)] = ""
    field_validation: Annotated[str, F(4)] = ""


class DeleteOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("DeleteOptions")
    grace_period_seconds: Annotated[Int64 | None, F(1)] = None
    preconditions: Annotated[Preconditions | None, F(2)] = None
    orphan_dependents: Annotated[bool | None, F(3)] = None
    propagation_policy: Annotated[str | None, F(4)] = None
    dry_run: Annotated[list[str], F(5, list="atomic")] = []
    ignore_store_read_error_with_cluster_breaking_potential: Annotated[bool | None, F(6)] = None


class FieldSelectorRequirement(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    operator: Annotated[str, F(2, req=True)] = always("")
    values: Annotated[list[str], F(3, list="atomic")] = []


class GetOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("GetOptions")
    resource_version: Annotated[str, F(1)] = ""


class GroupResource(Struct):
    group: Annotated[str, F(1, req=True)] = always("")
    resource: Annotated[str, F(2, req=True)] = always("")


class GroupVersionKind(Struct):
    group: Annotated[str, F(1)] = always("")
    version: Annotated[str, F(2)] = always("")
    kind: Annotated[str, F(3)] = always("")


class GroupVersionResource(Struct):
    group: Annotated[str, F(1)] = always("")
    version: Annotated[str, F(2)] = always("")
    resource: Annotated[str, F(3)] = always("")


class LabelSelector(Struct):
    match_labels: Annotated[dict[str, str], F(1)] = {}
    match_expressions: Annotated[list[LabelSelectorRequirement], F(2, list="atomic")] = []


class LabelSelectorRequirement(Struct):
    key: Annotated[str, F(1, req=True)] = always("")
    operator: Annotated[str, F(2, req=True)] = always("")
    values: Annotated[list[str], F(3, list="atomic")] = []


class ListMeta(Struct):
    self_link: Annotated[str, F(1)] = ""
    resource_version: Annotated[str, F(2)] = ""
    continue_: Annotated[str, F(3)] = ""
    remaining_item_count: Annotated[Int64 | None, F(4)] = None
    shard_info: Annotated[ShardInfo | None, F(5)] = None


class List(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("List")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[RawExtension], F(2)] = always_list()


class ListOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("ListOptions")
    label_selector: Annotated[str, F(1)] = ""
    field_selector: Annotated[str, F(2)] = ""
    watch: Annotated[bool, F(3)] = False
    allow_watch_bookmarks: Annotated[bool, F(9)] = False
    resource_version: Annotated[str, F(4)] = ""
    resource_version_match: Annotated[str, F(10)] = ""
    timeout_seconds: Annotated[Int64 | None, F(5)] = None
    limit: Annotated[Int64, F(7)] = 0
    continue_: Annotated[str, F(8)] = ""
    send_initial_events: Annotated[bool | None, F(11)] = None
    shard_selector: Annotated[str, F(15)] = ""


class ManagedFieldsEntry(Struct):
    manager: Annotated[str, F(1)] = ""
    operation: Annotated[str, F(2)] = ""
    api_version: Annotated[str, F(3)] = ""
    time: Annotated[Time | None, F(4)] = None
    fields_type: Annotated[str, F(6)] = ""
    fields_v1: Annotated[Any, F(7)] = None
    subresource: Annotated[str, F(8)] = ""


class ObjectMeta(Struct):
    name: Annotated[str, F(1)] = ""
    generate_name: Annotated[str, F(2)] = ""
    namespace: Annotated[str, F(3)] = ""
    self_link: Annotated[str, F(4)] = ""
    uid: Annotated[str, F(5)] = ""
    resource_version: Annotated[str, F(6)] = ""
    generation: Annotated[Int64, F(7)] = 0
    creation_timestamp: Annotated[Time | None, F(8)] = None
    deletion_timestamp: Annotated[Time | None, F(9)] = None
    deletion_grace_period_seconds: Annotated[Int64 | None, F(10)] = None
    labels: Annotated[dict[str, str], F(11)] = {}
    annotations: Annotated[dict[str, str], F(12)] = {}
    owner_references: Annotated[
        list[OwnerReference], F(13, patch="merge", key="uid", list="map", keys=("uid",))
    ] = []
    finalizers: Annotated[list[str], F(14, patch="merge", list="set")] = []
    managed_fields: Annotated[list[ManagedFieldsEntry], F(17, list="atomic")] = []


class Object(TypeMeta):
    """Base of everything that is stored: it names its kind and has metadata."""

    metadata: Annotated[ObjectMeta, F(1)] = field(default_factory=ObjectMeta)


class OwnerReference(Struct):
    api_version: Annotated[str, F(5, req=True)] = always("")
    kind: Annotated[str, F(1, req=True)] = always("")
    name: Annotated[str, F(3, req=True)] = always("")
    uid: Annotated[str, F(4, req=True)] = always("")
    controller: Annotated[bool | None, F(6)] = None
    block_owner_deletion: Annotated[bool | None, F(7)] = None


class PartialObjectMetadata(Object):
    api_version: str = always("v1")
    kind: str = always("PartialObjectMetadata")


class PartialObjectMetadataList(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PartialObjectMetadataList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[PartialObjectMetadata], F(2)] = always_list()


class PatchOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("PatchOptions")
    dry_run: Annotated[list[str], F(1)] = []
    force: Annotated[bool | None, F(2)] = None
    field_manager: Annotated[str, F(3)] = ""
    field_validation: Annotated[str, F(4)] = ""


class Preconditions(Struct):
    uid: Annotated[str | None, F(1)] = None
    resource_version: Annotated[str | None, F(2)] = None


class RootPaths(Struct):
    paths: Annotated[list[str], F(1)] = always_list()


class ServerAddressByClientCIDR(Struct):
    client_cidr: Annotated[str, F(1, req=True)] = named("clientCIDR", factory=lambda: "")
    server_address: Annotated[str, F(2, req=True)] = always("")


class ShardInfo(Struct):
    selector: Annotated[str, F(1, req=True)] = always("")


class Status(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("Status")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    status: Annotated[str, F(2)] = ""
    message: Annotated[str, F(3)] = ""
    reason: Annotated[str, F(4)] = ""
    details: Annotated[StatusDetails | None, F(5)] = None
    code: Annotated[Int32, F(6)] = 0


class StatusCause(Struct):
    reason: Annotated[str, F(1)] = ""
    message: Annotated[str, F(2)] = ""
    field: Annotated[str, F(3)] = ""


class StatusDetails(Struct):
    name: Annotated[str, F(1)] = ""
    group: Annotated[str, F(2)] = ""
    kind: Annotated[str, F(3)] = ""
    uid: Annotated[str, F(6)] = ""
    causes: Annotated[list[StatusCause], F(4, list="atomic")] = []
    retry_after_seconds: Annotated[Int32, F(5)] = 0


class Table(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("Table")
    metadata: Annotated[ListMeta, F(0)] = field(default_factory=ListMeta)
    column_definitions: Annotated[list[TableColumnDefinition], F(0)] = always_list()
    rows: Annotated[list[TableRow], F(0)] = always_list()


class TableColumnDefinition(Struct):
    name: Annotated[str, F(0)] = always("")
    type: Annotated[str, F(0)] = always("")
    format: Annotated[str, F(0)] = always("")
    description: Annotated[str, F(0)] = always("")
    priority: Annotated[Int32, F(0)] = always(0)


class TableOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("TableOptions")
    _: Annotated[bool, F(0)] = named("-", factory=lambda: False)
    include_object: Annotated[str, F(1)] = ""


class TableRow(Struct):
    conditions: Annotated[list[TableRowCondition], F(0)] = []
    object: Annotated[RawExtension, F(0)] = None


class TableRowCondition(Struct):
    type: Annotated[str, F(0)] = always("")
    status: Annotated[str, F(0)] = always("")
    reason: Annotated[str, F(0)] = ""
    message: Annotated[str, F(0)] = ""


class UpdateOptions(TypeMeta):
    api_version: str = always("v1")
    kind: str = always("UpdateOptions")
    dry_run: Annotated[list[str], F(1)] = []
    field_manager: Annotated[str, F(2)] = ""
    field_validation: Annotated[str, F(3)] = ""
