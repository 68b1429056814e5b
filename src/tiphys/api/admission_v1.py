"""Types of admission.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.authentication_v1 import UserInfo
from tiphys.api.base import F, RawExtension, Struct, always
from tiphys.api.meta_v1 import GroupVersionKind, GroupVersionResource, Status, TypeMeta


class AdmissionRequest(Struct):
    uid: Annotated[str, F(1)] = always("")
    kind: Annotated[GroupVersionKind, F(2)] = field(default_factory=GroupVersionKind)
    resource: Annotated[GroupVersionResource, F(3)] = field(default_factory=GroupVersionResource)
    sub_resource: Annotated[str, F(4)] = ""
    request_kind: Annotated[GroupVersionKind | None, F(13)] = None
    request_resource: Annotated[GroupVersionResource | None, F(14)] = None
    request_sub_resource: Annotated[str, F(15)] = ""
    name: Annotated[str, F(5)] = ""
    namespace: Annotated[str, F(6)] = ""
    operation: Annotated[str, F(7)] = always("")
    user_info: Annotated[UserInfo, F(8)] = field(default_factory=UserInfo)
    object: Annotated[RawExtension, F(9)] = None
    old_object: Annotated[RawExtension, F(10)] = None
    dry_run: Annotated[bool | None, F(11)] = None
    options: Annotated[RawExtension, F(12)] = None


class AdmissionResponse(Struct):
    uid: Annotated[str, F(1)] = always("")
    allowed: Annotated[bool, F(2)] = always(False)
    status: Annotated[Status | None, F(3)] = None
    patch: Annotated[bytes, F(4)] = b""
    patch_type: Annotated[str | None, F(5)] = None
    audit_annotations: Annotated[dict[str, str], F(6)] = {}
    warnings: Annotated[list[str], F(7)] = []


class AdmissionReview(TypeMeta):
    api_version: str = always("admission.k8s.io/v1")
    kind: str = always("AdmissionReview")
    request: Annotated[AdmissionRequest | None, F(1)] = None
    response: Annotated[AdmissionResponse | None, F(2)] = None
