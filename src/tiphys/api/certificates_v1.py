"""Types of certificates.k8s.io/v1: names, tags, keys and defaults from the published API of release
1.36."""

from __future__ import annotations

from typing import Annotated

from msgspec import field

from tiphys.api.base import F, Int32, Struct, Time, always, always_list
from tiphys.api.meta_v1 import ListMeta, Object, TypeMeta


class CertificateSigningRequestSpec(Struct):
    request: Annotated[bytes, F(1, req=True)] = always(b"")
    signer_name: Annotated[str, F(7, req=True)] = always("")
    expiration_seconds: Annotated[Int32 | None, F(8)] = None
    usages: Annotated[list[str], F(5, list="atomic")] = []
    username: Annotated[str, F(2)] = ""
    uid: Annotated[str, F(3)] = ""
    groups: Annotated[list[str], F(4, list="atomic")] = []
    extra: Annotated[dict[str, list[str]], F(6)] = {}


class CertificateSigningRequestStatus(Struct):
    conditions: Annotated[
        list[CertificateSigningRequestCondition], F(1, list="map", keys=("type",))
    ] = []
    certificate: Annotated[bytes, F(2)] = b""


class CertificateSigningRequest(Object):
    api_version: str = always("certificates.k8s.io/v1")
    kind: str = always("CertificateSigningRequest")
    spec: Annotated[CertificateSigningRequestSpec, F(2, req=True)] = field(
        default_factory=CertificateSigningRequestSpec
    )
    status: Annotated[CertificateSigningRequestStatus, F(3)] = field(
        default_factory=CertificateSigningRequestStatus
    )


class CertificateSigningRequestCondition(Struct):
    type: Annotated[str, F(1, req=True)] = always("")
    status: Annotated[str, F(6, req=True)] = always("")
    reason: Annotated[str, F(2)] = ""
    message: Annotated[str, F(3)] = ""
    last_update_time: Annotated[Time | None, F(4)] = None
    last_transition_time: Annotated[Time | None, F(5)] = None


class CertificateSigningRequestList(TypeMeta):
    api_version: str = always("certificates.k8s.io/v1")
    kind: str = always("CertificateSigningRequestList")
    metadata: Annotated[ListMeta, F(1)] = field(default_factory=ListMeta)
    items: Annotated[list[CertificateSigningRequest], F(2, req=True)] = always_list()
