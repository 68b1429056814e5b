"""The Envoy of the machine that tests run on."""

from __future__ import annotations

from tiphys.network.xds.envoy import NoEnvoy, program


def has_envoy() -> bool:
    try:
        return bool(program())
    except NoEnvoy:
        return False
