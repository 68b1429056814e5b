"""The flags of components that serve their metrics: names and ports are upstream's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tiphys.client.client import Client
    from tiphys.client.monitoring import Endpoint

_FILE = click.Path(path_type=Path)


def monitored(port: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the flags, and its function an `endpoint`: None without a certificate."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--secure-port",
            default=port,
            show_default=True,
            help="Where metrics and health are served, with --tls-cert-file; 0: nowhere.",
        )
        @click.option("--bind-address", default="127.0.0.1", show_default=True)
        @click.option(
            "--tls-cert-file", type=_FILE, default=None, help="Certificate of that server."
        )
        @click.option("--tls-private-key-file", type=_FILE, default=None, help="Its key.")
        @click.option(
            "--client-ca-file",
            type=_FILE,
            default=None,
            help="The CA whose client certificates that server accepts.",
        )
        @functools.wraps(command)
        def with_endpoint(
            secure_port: int,
            bind_address: str,
            tls_cert_file: Path | None,
            tls_private_key_file: Path | None,
            client_ca_file: Path | None,
            **options: Any,
        ) -> None:
            from tiphys.client.monitoring import Endpoint

            files = (tls_cert_file, tls_private_key_file, client_ca_file)
            provided = [file for file in files if file is not None]
            if provided and len(provided) < len(files):
                raise click.UsageError(
                    "--tls-cert-file, --tls-private-key-file and --client-ca-file go together"
                )
            endpoint = None
            if provided and secure_port:
                endpoint = Endpoint(bind_address, secure_port, *provided)
            command(endpoint=endpoint, **options)

        return with_endpoint

    return decorate


@contextlib.asynccontextmanager
async def serving(client: Client, endpoint: Endpoint | None) -> AsyncIterator[None]:
    """Serves the metrics of the component whose client this is, before it leads, too."""
    from tiphys.client.monitoring import MonitoringServer
    from tiphys.client.tasks import TaskGroup

    tasks = TaskGroup("monitoring")
    if endpoint is not None:
        tasks.start(MonitoringServer(client).run(endpoint), "monitoring")
    try:
        yield
    finally:
        await tasks.stop()


@contextlib.asynccontextmanager
async def component_client(
    kubeconfig: Path | None, name: str, endpoint: Endpoint | None
) -> AsyncIterator[Client]:
    """The client of the component of a name, whose metrics are served at the endpoint."""
    from tiphys.client.client import Client
    from tiphys.client.config import load
    from tiphys.client.exposition import component_registry
    from tiphys.client.metrics import ComponentMetrics

    client = Client(load(kubeconfig), name, ComponentMetrics(component_registry()))
    async with client, serving(client, endpoint):
        yield client
