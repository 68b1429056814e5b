"""`tiphys apiserver`, and the processes that serve clients for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from tiphys.cli.accessflags import (
    authentication_flags,
    authentication_options,
    authorization_flags,
    authorization_options,
)
from tiphys.cli.auditflags import audit_flags, audit_options
from tiphys.cli.components.names import names
from tiphys.cli.logs import configure, log_format
from tiphys.cli.process import run_process

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.option(
    "--pki", type=_FOLDER, required=True, help="Folder with ca.crt, apiserver.crt/.key, sa.key."
)
@click.option("--data-dir", type=_FOLDER, required=True)
@click.option("--bind", default="0.0.0.0", show_default=True)
@click.option("--port", default=6443, show_default=True)
@click.option(
    "--address", default="127.0.0.1", help="Address of this server for clients in the cluster."
)
@click.option(
    "--store",
    default="sqlite",
    show_default=True,
    help="sqlite, memory, or etcd endpoints (http://... or https://...).",
)
@click.option("--etcd-ca", type=_FOLDER)
@click.option("--etcd-cert", type=_FOLDER)
@click.option("--etcd-key", type=_FOLDER)
@click.option("--token-auth-file", type=_FOLDER, help='Lines of token,user,uid,"group,...".')
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True)
@click.option(
    "--enable-admission-plugins",
    default="",
    help="Comma-separated names of plugins that are off by default.",
)
@click.option(
    "--disable-admission-plugins", default="", help="Comma-separated names of plugins to disable."
)
@click.option(
    "--admission-control-config-file",
    type=_FOLDER,
    help="An AdmissionConfiguration: defaults and exemptions.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Processes that serve clients; 0: the server itself does.",
)
@click.option(
    "--encryption-provider-config",
    type=_FOLDER,
    help="An EncryptionConfiguration: which resources are stored encrypted, with which keys.",
)
@click.option(
    "--encryption-provider-config-automatic-reload",
    type=bool,
    default=False,
    show_default=True,
    help="Read that file again when it changes.",
)
@authentication_flags
@authorization_flags
@audit_flags
@log_format
def apiserver(
    pki: Path,
    data_dir: Path,
    bind: str,
    port: int,
    address: str,
    store: str,
    etcd_ca: Path,
    etcd_cert: Path,
    etcd_key: Path,
    token_auth_file: Path,
    service_cidr: str,
    enable_admission_plugins: str,
    disable_admission_plugins: str,
    admission_control_config_file: Path | None,
    workers: int,
    encryption_provider_config: Path | None,
    encryption_provider_config_automatic_reload: bool,
    log_format: str,
    **more: Any,
) -> None:
    """Run the API server."""
    from tiphys import addons
    from tiphys.apiserver.main import run
    from tiphys.apiserver.options import Options
    from tiphys.cluster.supervisor import LISTENING, READY
    from tiphys.store.engine import StoreError

    configure(log_format)
    kubelet_certificate = pki / "apiserver-kubelet-client.crt"
    kubelet_key = pki / "apiserver-kubelet-client.key"
    try:
        authentication = authentication_options(more)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    options = Options(
        pki / "apiserver.crt",
        pki / "apiserver.key",
        pki / "ca.crt",
        pki / "sa.key",
        data_dir,
        bind,
        port,
        address,
        store,
        (etcd_ca, etcd_cert, etcd_key) if etcd_ca else None,
        token_auth_file,
        kubelet_certificate if kubelet_certificate.exists() else None,
        kubelet_key if kubelet_key.exists() else None,
        service_cidr=service_cidr,
        front_proxy=_front_proxy(pki),
        enable_admission=names(enable_admission_plugins),
        disable_admission=names(disable_admission_plugins),
        admission_config=admission_control_config_file,
        workers=workers,
        log_format=log_format,
        inherited=int(os.environ[LISTENING]) if LISTENING in os.environ else None,
        ready=int(os.environ[READY]) if READY in os.environ else None,
        encryption_config=encryption_provider_config,
        encryption_reload=encryption_provider_config_automatic_reload,
        audit=audit_options(more),
        authentication=authentication,
        authorization=authorization_options(more),
    )
    try:
        run_process(run(options, addons.served_groups()), collects=True)
    except (StoreError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@click.command("apiserver-worker", hidden=True)
@click.argument("stream", type=int)
@click.argument("door", type=int)
@click.argument("published", type=int)
@log_format
def apiserver_worker(stream: int, door: int, published: int, log_format: str) -> None:
    """A process of an API server, started by it with open descriptors."""
    from tiphys import addons
    from tiphys.apiserver.main import run_worker
    from tiphys.store.engine import StoreError

    configure(log_format)
    try:
        run_process(run_worker(stream, door, published, addons.served_groups()), collects=True)
    except (StoreError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _front_proxy(folder: Path) -> tuple[Path, Path, Path] | None:
    """(CA, certificate, key) for requests to aggregated servers, when they are all there."""
    stem = folder / "front-proxy" / "front-proxy-client"
    files = (stem.with_name("ca.crt"), stem.with_suffix(".crt"), stem.with_suffix(".key"))
    return files if all(path.exists() for path in files) else None
