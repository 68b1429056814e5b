"""etcd's public protocol (v3, package etcdserverpb), the messages this project sends and reads."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Int64, Struct


class ResponseHeader(Struct):
    revision: Annotated[Int64, F(3)] = 0


class KeyValue(Struct):
    key: Annotated[bytes, F(1)] = b""
    create_revision: Annotated[Int64, F(2)] = 0
    mod_revision: Annotated[Int64, F(3)] = 0
    value: Annotated[bytes, F(5)] = b""
    lease: Annotated[Int64, F(6)] = 0


class Event(Struct):
    type: Annotated[Int32, F(1)] = 0  # 0 put, 1 delete
    kv: Annotated[KeyValue, F(2)] = field(default_factory=KeyValue)
    prev_kv: Annotated[KeyValue | None, F(3)] = None


class RangeRequest(Struct):
    key: Annotated[bytes, F(1)] = b""
    range_end: Annotated[bytes, F(2)] = b""
    limit: Annotated[Int64, F(3)] = 0
    revision: Annotated[Int64, F(4)] = 0
    count_only: Annotated[bool, F(9)] = False


class RangeResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)
    kvs: Annotated[list[KeyValue], F(2)] = []
    more: Annotated[bool, F(3)] = False
    count: Annotated[Int64, F(4)] = 0


class PutRequest(Struct):
    key: Annotated[bytes, F(1)] = b""
    value: Annotated[bytes, F(2)] = b""
    lease: Annotated[Int64, F(3)] = 0


class DeleteRangeRequest(Struct):
    key: Annotated[bytes, F(1)] = b""


class RequestOp(Struct):
    request_range: Annotated[RangeRequest | None, F(1)] = None
    request_put: Annotated[PutRequest | None, F(2)] = None
    request_delete_range: Annotated[DeleteRangeRequest | None, F(3)] = None


class ResponseOp(Struct):
    response_range: Annotated[RangeResponse | None, F(1)] = None


class Compare(Struct):
    result: Annotated[Int32, F(1)] = 0  # 0 equal
    target: Annotated[Int32, F(2)] = 0  # 2 mod revision
    key: Annotated[bytes, F(3)] = b""
    mod_revision: Annotated[Int64 | None, F(6)] = None


class TxnRequest(Struct):
    compare: Annotated[list[Compare], F(1)] = []
    success: Annotated[list[RequestOp], F(2)] = []
    failure: Annotated[list[RequestOp], F(3)] = []


class TxnResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)
    succeeded: Annotated[bool, F(2)] = False
    responses: Annotated[list[ResponseOp], F(3)] = []


class LeaseGrantRequest(Struct):
    ttl: Annotated[Int64, F(1)] = 0  # seconds
    id: Annotated[Int64, F(2)] = 0  # 0: the server chooses


class LeaseGrantResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)
    id: Annotated[Int64, F(2)] = 0
    ttl: Annotated[Int64, F(3)] = 0
    error: Annotated[str, F(4)] = ""


class LeaseRevokeRequest(Struct):
    id: Annotated[Int64, F(1)] = 0


class LeaseRevokeResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)


class LeaseTimeToLiveRequest(Struct):
    id: Annotated[Int64, F(1)] = 0


class LeaseTimeToLiveResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)
    id: Annotated[Int64, F(2)] = 0
    ttl: Annotated[Int64, F(3)] = 0  # seconds that are left; -1: it has ended


class CompactionRequest(Struct):
    revision: Annotated[Int64, F(1)] = 0
    physical: Annotated[bool, F(2)] = False


class CompactionResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)


class WatchCreateRequest(Struct):
    key: Annotated[bytes, F(1)] = b""
    range_end: Annotated[bytes, F(2)] = b""
    start_revision: Annotated[Int64, F(3)] = 0
    progress_notify: Annotated[bool, F(4)] = False
    prev_kv: Annotated[bool, F(6)] = False


class WatchProgressRequest(Struct):
    pass


class WatchRequest(Struct):
    create_request: Annotated[WatchCreateRequest | None, F(1)] = None
    progress_request: Annotated[WatchProgressRequest | None, F(3)] = None


class WatchResponse(Struct):
    header: Annotated[ResponseHeader, F(1)] = field(default_factory=ResponseHeader)
    created: Annotated[bool, F(3)] = False
    canceled: Annotated[bool, F(4)] = False
    compact_revision: Annotated[Int64, F(5)] = 0
    cancel_reason: Annotated[str, F(6)] = ""
    events: Annotated[list[Event], F(11)] = []


class Member(Struct):
    id: Annotated[Int64, F(1)] = 0  # unsigned on the wire
    name: Annotated[str, F(2)] = ""  # "" until it has started
    peer_urls: Annotated[list[str], F(3)] = []
    client_urls: Annotated[list[str], F(4)] = []
    is_learner: Annotated[bool, F(5)] = False


class MemberAddRequest(Struct):
    peer_urls: Annotated[list[str], F(1)] = []
    is_learner: Annotated[bool, F(2)] = False


class MemberAddResponse(Struct):
    member: Annotated[Member, F(2)] = field(default_factory=Member)
    members: Annotated[list[Member], F(3)] = []


class MemberUpdateRequest(Struct):
    id: Annotated[Int64, F(1)] = 0
    peer_urls: Annotated[list[str], F(2)] = []


class MemberUpdateResponse(Struct):
    members: Annotated[list[Member], F(2)] = []


class MemberRemoveRequest(Struct):
    id: Annotated[Int64, F(1)] = 0


class MemberRemoveResponse(Struct):
    members: Annotated[list[Member], F(2)] = []


class MemberPromoteRequest(Struct):
    id: Annotated[Int64, F(1)] = 0


class MemberPromoteResponse(Struct):
    members: Annotated[list[Member], F(2)] = []


class MemberListRequest(Struct):
    pass


class MemberListResponse(Struct):
    members: Annotated[list[Member], F(2)] = []
