"""Upstream's metrics of configuration files that a server reads again while it runs."""

from __future__ import annotations

import hashlib
import re
import time

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReloadMetrics:
    """`subject` is authentication, authorization or encryption; `server` is what the server is
    known by."""

    def __init__(self, registry: CollectorRegistry, subject: str, server: str) -> None:
        prefix = f"apiserver_{subject}_config_controller"
        self._server = hashed(server)
        self._total = Counter(
            f"{prefix}_automatic_reloads_total",
            "Reloads of the configuration file, by what came of them.",
            ("status", "apiserver_id_hash"),
            registry=registry,
        )
        self._last = Gauge(
            f"{prefix}_automatic_reload_last_timestamp_seconds",
            "When the configuration file was reloaded last, by what came of it.",
            ("status", "apiserver_id_hash"),
            registry=registry,
        )
        self._info = Gauge(
            f"{prefix}_last_config_info",
            "The hash of the configuration that is in force; always 1.",
            ("apiserver_id_hash", "hash"),
            registry=registry,
        )

    def loaded(self, hash: str) -> None:
        """`hash`: of the file that is in force, see `sha256_of`."""
        self._info.clear()
        self._info.labels(self._server, hash).set(1)

    def reloaded(self, status: str) -> None:
        """`status`: success or failure"""
        self._total.labels(status, self._server).inc()
        self._last.labels(status, self._server).set(time.time())


def loaded_hashes(page: str, subject: str) -> list[str]:
    """What a page of metrics says of the configurations that are in force."""
    name = f"apiserver_{subject}_config_controller_last_config_info"
    return re.findall(rf'^{name}{{(?:.*,)?hash="([^"]+)"}} 1', page, re.MULTILINE)


def sha256_of(data: bytes) -> str:
    """As metrics and logs show it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hashed(text: str) -> str:
    """How metrics and logs speak of an id; nothing for none."""
    return sha256_of(text.encode()) if text else ""
