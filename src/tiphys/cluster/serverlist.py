"""The file in which the processes of a machine find the API servers of the cluster: kept by its
node's process, as the endpoints of the service `kubernetes` say."""

from __future__ import annotations

import logging
from pathlib import Path

from tiphys.api import discovery_v1
from tiphys.client.informer import Informers
from tiphys.machinery.addresses import authority

log = logging.getLogger(__name__)

_SERVICE = "default/kubernetes"


def places(endpoint_slice: discovery_v1.EndpointSlice | None) -> list[str]:
    """``HOST:PORT`` of each server, in order; none for what leads nowhere."""
    if endpoint_slice is None or not endpoint_slice.ports or endpoint_slice.ports[0].port is None:
        return []
    port = endpoint_slice.ports[0].port
    return sorted(
        authority(address, port)
        for endpoint in endpoint_slice.endpoints
        for address in endpoint.addresses
    )


def keep(file: Path, informers: Informers) -> None:
    """Keeps the addresses of the servers in the file, from now on. The last one stays in it:
    without it the next could not be found."""

    def changed(old: object, new: discovery_v1.EndpointSlice | None) -> None:
        if new is None or f"{new.metadata.namespace}/{new.metadata.name}" != _SERVICE:
            return
        lines = places(new)
        if lines:
            write(file, lines)

    informers.of(discovery_v1.EndpointSlice).on_change(changed)


def write(file: Path, lines: list[str]) -> None:
    """Writes the file whole or not at all."""
    text = "".join(f"{line}\n" for line in lines)
    if file.exists() and file.read_text() == text:
        return
    temporary = file.with_name(f"{file.name}.new")
    temporary.write_text(text)
    temporary.rename(file)
    log.info("The API servers are %s", ", ".join(lines))
