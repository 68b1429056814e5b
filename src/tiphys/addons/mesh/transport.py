"""How sidecars speak with each other: mutual TLS by which both sides see who the other is.

A protocol name in the handshake (ALPN) marks the mesh, and whether HTTP goes inside: so a
server that takes both distinguishes it from TLS of the application's own, which it passes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from tiphys.addons.authority import Pair
from tiphys.network.xds import services
from tiphys.network.xds.cache import Message

HTTP = "tiphys-mesh-http"
STREAM = "tiphys-mesh-tcp"
CERTIFICATE = "certificate"
AUTHORITIES = "authorities"
_TLS = "envoy.transport_sockets.tls"


def secrets(pair: Pair, root: str) -> dict[str, Message]:
    """What a sidecar shows, and by whom others must be signed."""
    shown = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(inline_string=pair.certificate),
        private_key=base_pb2.DataSource(inline_string=pair.key),
    )
    trusted = common_pb2.CertificateValidationContext(
        trusted_ca=base_pb2.DataSource(inline_string=root)
    )
    return {
        CERTIFICATE: secret_pb2.Secret(name=CERTIFICATE, tls_certificate=shown),
        AUTHORITIES: secret_pb2.Secret(name=AUTHORITIES, validation_context=trusted),
    }


def client(protocol: str, identities: Iterable[str], otherwise: str) -> base_pb2.TransportSocket:
    """To a server that is one of `identities`; where there are none, one that begins with
    `otherwise`."""
    named = [string_pb2.StringMatcher(exact=one) for one in sorted(identities)]
    context = tls_pb2.UpstreamTlsContext(
        common_tls_context=_common(protocol, named or [string_pb2.StringMatcher(prefix=otherwise)]),
        max_session_keys=UInt32Value(value=0),  # nothing is resumed: everybody proves it each time
    )
    return _socket(context)


def server(protocol: str, domain: str) -> base_pb2.TransportSocket:
    """For any client of the trust domain."""
    any_member = string_pb2.StringMatcher(prefix=f"spiffe://{domain}/")
    context = tls_pb2.DownstreamTlsContext(
        common_tls_context=_common(protocol, [any_member]),
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    context.require_client_certificate.value = True
    return _socket(context)


def _socket(context: Any) -> base_pb2.TransportSocket:
    return base_pb2.TransportSocket(name=_TLS, typed_config=services.packed(context))


def _common(protocol: str, peers: list[Any]) -> tls_pb2.CommonTlsContext:
    tls_context = tls_pb2.CommonTlsContext(alpn_protocols=[protocol])
    tls_context.tls_params.tls_minimum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    tls_context.tls_params.tls_maximum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    tls_context.tls_certificate_sds_secret_configs.append(_by_name(CERTIFICATE))
    combined = tls_context.combined_validation_context
    combined.validation_context_sds_secret_config.CopyFrom(_by_name(AUTHORITIES))
    for matcher in peers:
        combined.default_validation_context.match_typed_subject_alt_names.add(
            san_type=common_pb2.SubjectAltNameMatcher.URI, matcher=matcher
        )
    return tls_context


def _by_name(name: str) -> secret_pb2.SdsSecretConfig:
    return secret_pb2.SdsSecretConfig(name=name, sds_config=services.over_ads())
