"""What is shown of configuration files that a server reads again."""

from __future__ import annotations

import hashlib

from prometheus_client import CollectorRegistry

from tiphys.client.exposition import render
from tiphys.client.reloadmetrics import ReloadMetrics, loaded_hashes, sha256_of

SERVER = {"apiserver_id_hash": f"sha256:{hashlib.sha256(b'me').hexdigest()}"}


def test_the_file_in_force_and_what_came_of_each_reload() -> None:
    registry = CollectorRegistry()
    metrics = ReloadMetrics(registry, "encryption", "me")

    def shown(name: str, **labels: str) -> float | None:
        full = f"apiserver_encryption_config_controller_{name}"
        return registry.get_sample_value(full, {**SERVER, **labels})

    metrics.loaded("one")
    metrics.loaded("two")
    assert (shown("last_config_info", hash="two"), shown("last_config_info", hash="one")) == (
        1,
        None,
    )
    metrics.reloaded("failure")
    assert shown("automatic_reloads_total", status="failure") == 1
    assert shown("automatic_reload_last_timestamp_seconds", status="failure")


def test_the_configuration_in_force_is_read_off_a_page() -> None:
    registry = CollectorRegistry()
    ReloadMetrics(registry, "authentication", "me").loaded(sha256_of(b"another"))
    encryption = ReloadMetrics(registry, "encryption", "me")
    assert loaded_hashes(render(registry).body.decode(), "encryption") == []
    for data in (b"one", b"two"):
        encryption.loaded(sha256_of(data))
    assert loaded_hashes(render(registry).body.decode(), "encryption") == [sha256_of(b"two")]
