"""What an API server is started with, and the engine that keeps its state."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path

from tiphys.apiserver.access.authenticationoptions import AuthenticationOptions
from tiphys.apiserver.access.authorizationoptions import AuthorizationOptions
from tiphys.apiserver.audit.options import AuditOptions
from tiphys.client import certfiles
from tiphys.store.engine import Engine

_PATIENCE = 60.0  # seconds that a server which follows another waits for its store


@dataclass(frozen=True)
class Options:
    """How a server runs.

    Files are PEM. `store` is sqlite, memory, or comma-separated etcd endpoints.
    """

    certificate: Path
    key: Path
    client_ca: Path
    token_key: Path
    data_dir: Path
    bind: str = "0.0.0.0"
    port: int = 6443
    address: str = "127.0.0.1"
    store: str = "sqlite"
    etcd_tls: tuple[Path, Path, Path] | None = None
    token_file: Path | None = None
    node_certificate: Path | None = None
    node_key: Path | None = None
    front_proxy: tuple[Path, Path, Path] | None = None  # authority, certificate, key
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    service_cidr: str = "10.96.0.0/16"  # or two of them, one of each family
    enable_admission: tuple[str, ...] = ()  # names of plugins, as upstream spells them
    disable_admission: tuple[str, ...] = ()
    admission_config: Path | None = None  # an AdmissionConfiguration
    encryption_config: Path | None = None  # an EncryptionConfiguration
    inherited: int | None = None  # file descriptor of a socket that listens already
    ready: int | None = None  # a pipe's: a successor reports on it when its predecessor may stop
    encryption_reload: bool = False  # whether the file is read again when it changes
    audit: AuditOptions = field(default_factory=AuditOptions)
    authorization: AuthorizationOptions = field(default_factory=AuthorizationOptions)
    authentication: AuthenticationOptions = field(default_factory=AuthenticationOptions)
    workers: int = 0  # processes that serve clients; none: this one does
    log_format: str = "text"


def engine_of(options: Options) -> Engine:
    if options.store == "sqlite":
        from tiphys.store.sqlite import SQLiteEngine

        scrubs = options.encryption_config is not None
        patience = _PATIENCE if options.ready is not None else 0.0
        return SQLiteEngine(options.data_dir / "state.db", scrubs, patience)
    if options.store == "memory":
        from tiphys.store.memory import MemoryEngine

        return MemoryEngine()
    from tiphys.store.etcd import EtcdEngine

    endpoints = [
        e.removeprefix("https://").removeprefix("http://") for e in options.store.split(",")
    ]
    tls = tuple(path.read_bytes() for path in options.etcd_tls) if options.etcd_tls else None
    return EtcdEngine(endpoints, tls=tls)  # type: ignore[arg-type]


def authorities(options: Options) -> dict[str, str]:
    """What servers behind this one need to know whom to believe."""
    data = {"client-ca-file": options.client_ca.read_text()}
    if options.front_proxy is not None:
        data |= {
            "requestheader-client-ca-file": options.front_proxy[0].read_text(),
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-uid-headers": '["X-Remote-Uid"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
    return data


def node_tls(options: Options) -> ssl.SSLContext | None:
    if options.node_certificate is None or options.node_key is None:
        return None
    context = ssl.create_default_context(cafile=str(options.client_ca))
    certfiles.use(context, options.node_certificate, options.node_key)
    # Nodes are reached by address, but it is the node that has to be there: a node that claims
    # another's address, or this
    # server's own, gets no requests there. The name is given with each connection.
    context.check_hostname = True
    return context


def of_worker(options: Options, number: int) -> Options:
    """A worker's own options: of a file for the audit log, each process turns its own over."""
    options = replace(options, inherited=None, ready=None)  # both are the primary's
    path = options.audit.log.path
    if path in ("", "-"):
        return options
    own = str(Path(path).with_name(f"worker-{number}-{Path(path).name}"))
    audit = replace(options.audit, log=replace(options.audit.log, path=own))
    return replace(options, audit=audit)
