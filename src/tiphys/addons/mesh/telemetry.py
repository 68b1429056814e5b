"""The golden metrics of a sidecar, made by Envoy of each request that it has passed on.

`envoy_mesh_requests` counts and `envoy_mesh_request_duration` (milliseconds) measures, both by who
asked (`source`), who was asked (`destination`), the `service`, the status (`code`) and what Envoy
had to say of it (`flags`).
"""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.extensions.access_loggers.stats.v3 import stats_pb2

from tiphys.network.xds import services

OUTBOUND = {
    "source": "%UPSTREAM_LOCAL_URI_SAN%",
    "destination": "%UPSTREAM_PEER_URI_SAN%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
}
INBOUND = {
    "source": "%DOWNSTREAM_PEER_URI_SAN%",
    "destination": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
}


def access_log(reporter: str, tags: dict[str, str], service: str) -> accesslog_pb2.AccessLog:
    """`reporter` is whose word it is: the source's or the destination's. `service` is text, or a
    command of Envoy's access log."""
    listed = [
        stats_pb2.Config.Tag(name=name, value_format=value)
        for name, value in {"reporter": reporter, "service": service, **tags}.items()
    ]
    config = stats_pb2.Config(stat_prefix="mesh")
    counter = config.counters.add(stat=stats_pb2.Config.Stat(name="requests", tags=listed))
    counter.value_fixed.value = 1
    config.histograms.add(
        stat=stats_pb2.Config.Stat(name="request_duration", tags=listed),
        unit=stats_pb2.Config.Histogram.Unit.Milliseconds,
        value_format="%DURATION%",
    )
    return accesslog_pb2.AccessLog(
        name="envoy.access_loggers.stats", typed_config=services.packed(config)
    )
