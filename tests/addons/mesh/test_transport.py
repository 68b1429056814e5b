"""How sidecars prove who they are to each other, and what they count."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.extensions.access_loggers.stats.v3 import stats_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from tiphys.addons.authority import Authority
from tiphys.addons.mesh import telemetry, transport

ANYBODY = "spiffe://cluster.local/ns/shop/"
WEB, API = f"{ANYBODY}sa/web", f"{ANYBODY}sa/api"


def client(*identities: str) -> Any:
    made = tls_pb2.UpstreamTlsContext()
    socket = transport.client(transport.HTTP, identities, ANYBODY)
    assert socket.typed_config.Unpack(made)
    return made


@pytest.mark.parametrize(
    ("identities", "accepted"),
    [
        ((), [("prefix", ANYBODY)]),
        ((WEB,), [("exact", WEB)]),
        ((WEB, API), [("exact", API), ("exact", WEB)]),
    ],
)
def test_a_server_is_one_of_its_identities_or_of_the_namespace(
    identities: tuple[str, ...], accepted: list[tuple[str, str]]
) -> None:
    combined = client(*identities).common_tls_context.combined_validation_context
    matchers = combined.default_validation_context.match_typed_subject_alt_names
    kinds = common_pb2.SubjectAltNameMatcher.SanType
    assert {kinds.Name(one.san_type) for one in matchers} == {"URI"}
    shown = [(one.matcher.WhichOneof("match_pattern"), one.matcher) for one in matchers]
    assert [(kind, getattr(matcher, str(kind))) for kind, matcher in shown] == accepted


def test_everybody_proves_it_each_time() -> None:
    made = client(WEB)
    assert made.HasField("max_session_keys") and made.max_session_keys.value == 0
    common = made.common_tls_context
    assert list(common.alpn_protocols) == ["tiphys-mesh-http"]
    [shown] = common.tls_certificate_sds_secret_configs
    trusted = common.combined_validation_context.validation_context_sds_secret_config
    assert (shown.name, trusted.name) == ("certificate", "authorities")
    assert shown.sds_config.HasField("ads") and trusted.sds_config.HasField("ads")


def test_what_is_shown_and_what_is_trusted_go_over_the_stream_alone() -> None:
    authority, _ = Authority.new("cluster.local", 1e9)
    pair = authority.workload(WEB, 1e9, 60)
    made: Any = transport.secrets(pair, authority.root)
    shown = made["certificate"].tls_certificate
    assert shown.certificate_chain.inline_string == pair.certificate
    assert shown.private_key.inline_string == pair.key
    assert made["authorities"].validation_context.trusted_ca.inline_string == authority.root


def test_each_request_is_counted_once_by_who_and_what() -> None:
    log = telemetry.access_log("source", telemetry.OUTBOUND, "web.shop:80")
    config = stats_pb2.Config()
    assert log.typed_config.Unpack(config)
    [counter], [histogram] = config.counters, config.histograms
    assert counter.value_fixed.value == 1
    tags = {one.name: one.value_format for one in counter.stat.tags}
    assert tags["reporter"] == "source" and tags["service"] == "web.shop:80"
    assert set(tags) == {"reporter", "service", "source", "destination", "code", "flags"}
    assert list(histogram.stat.tags) == list(counter.stat.tags)
    assert (histogram.stat.name, histogram.value_format) == ("request_duration", "%DURATION%")
