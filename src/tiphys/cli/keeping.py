"""`tiphys backup`, `restore`, `migrate`, `certificates` and `rotate-encryption-key`: a cluster's
data kept, moved and hidden."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tiphys.cli.clusters import cluster_name, explained, own_cluster, with_server

if TYPE_CHECKING:
    from tiphys.cluster.archive import Lock

_FILE = click.Path(path_type=Path, dir_okay=False)
_passphrase_file = click.option(
    "--passphrase-file", type=_FILE, help="File whose first line is the passphrase."
)


def _passphrase_of(file: Path) -> str:
    from tiphys.cluster.state import ClusterError

    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise ClusterError(f"{file} cannot be read: {error}") from None
    if not lines or not lines[0]:
        raise ClusterError(f"{file} has no passphrase in its first line")
    return lines[0]


@click.command()
@cluster_name
@click.argument("file", type=_FILE)
@click.option("--encrypt", is_flag=True, help="Encrypt it with a passphrase, which is asked for.")
@_passphrase_file
@click.option(
    "--recipient", "recipients", multiple=True, help="Public key of age (age1...) that can open it."
)
def backup(
    name: str, file: Path, encrypt: bool, passphrase_file: Path | None, recipients: tuple[str, ...]
) -> None:
    """Write everything a cluster needs to come back into FILE, while it runs.

    The file has the cluster's private keys. Unless it is encrypted, who reads it is its master.
    """
    from tiphys.cluster import backup as backups
    from tiphys.cluster.archive import Lock

    with explained():
        cluster = own_cluster(name)
        passphrase = _passphrase_of(passphrase_file) if passphrase_file else ""
        if encrypt and not passphrase:
            passphrase = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True)
        lock = Lock(passphrase, recipients)
        manifest = backups.backup(cluster, file, lock)
    size = file.stat().st_size / (1 << 20)
    how = "encrypted" if lock else "not encrypted: it has the cluster's private keys"
    click.echo(
        f"{file}: {manifest.objects} objects of {name} at revision {manifest.revision}, "
        f"{size:.1f} MiB, {how}."
    )


@click.command()
@click.argument("file", type=_FILE)
@click.option("--name", default=None, help="Name of the cluster [default: as it was].")
@click.option("--data-dir", type=click.Path(path_type=Path), default=None)
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="[default: as it was]")
@click.option("--store", default=None, help="sqlite, etcd, or https://... [default: as it was]")
@click.option("--replace", is_flag=True, help="Set aside what a cluster of that name has.")
@_passphrase_file
@click.option("--identity", type=_FILE, help="File with the private key of age that opens it.")
def restore(
    file: Path, passphrase_file: Path | None, identity: Path | None, **options: Any
) -> None:
    """Put a cluster in place from a backup. `tiphys up` starts it then.

    Clients that watched the cluster after the backup list anew: no revision is given twice.
    """
    from tiphys.cluster import backup as backups

    with explained():
        lock = _lock_of(file, passphrase_file, identity)
        cluster, manifest = backups.restore(file, lock, backups.Restoring(**options))
    click.echo(
        f"{cluster.name} is as it was at {manifest.created}: {manifest.objects} objects. "
        f"Start it with: tiphys up --name {cluster.name}"
    )


def _lock_of(file: Path, passphrase_file: Path | None, identity: Path | None) -> Lock:
    """What opens a backup. A passphrase is asked for where somebody can type it."""
    from tiphys.cluster import archive
    from tiphys.cluster.state import ClusterError

    if not archive.is_encrypted(file):
        return archive.Lock()
    if identity is not None:
        try:
            lines = identity.read_text().splitlines()
        except (OSError, ValueError) as error:
            raise ClusterError(f"{identity} cannot be read: {error}") from None
        keys = tuple(line for line in lines if line and not line.startswith("#"))
        return archive.Lock(identities=keys)
    if passphrase_file is not None:
        return archive.Lock(_passphrase_of(passphrase_file))
    if sys.stdin.isatty():
        return archive.Lock(click.prompt("Passphrase", hide_input=True))
    return archive.Lock()


@click.command()
@cluster_name
@click.option("--to", "store", required=True, help="sqlite, etcd, or https://... of an etcd.")
@click.option(
    "--etcd-tls",
    nargs=3,
    default=None,
    metavar="CA CERT KEY",
    help="PEM files for an etcd cluster over TLS.",
)
def migrate(name: str, store: str, etcd_tls: tuple[str, ...] | None) -> None:
    """Move a cluster's objects into another store.

    Its API is away for seconds; pods run on. Watches begin anew with a list.
    """
    from tiphys.cluster import moving

    with explained():
        tls = [str(Path(file).absolute()) for file in etcd_tls or ()]
        moved = moving.migrate(own_cluster(name), store, tls)
    away = f" The API was away for {moved.seconds:.1f} s." if moved.seconds else ""
    click.echo(
        f"{name} keeps its {moved.objects} objects in {store} now, byte for byte the same.{away} "
        f"The old store is in {moved.left}; remove it when you need it no longer."
    )


@click.command("rotate-encryption-key")
@cluster_name
@click.option(
    "--rewrite-only",
    is_flag=True,
    help="Make no new key: write everything with the first key of the configuration.",
)
def rotate_encryption_key(name: str, rewrite_only: bool) -> None:
    """Encrypt a cluster's store with a new key, and forget the old one."""
    from tiphys.cluster import rotation

    with explained():
        cluster = own_cluster(name)
        work: Callable[..., rotation.Rewritten] = (
            rotation.rewrite if rewrite_only else rotation.rotate
        )
        rewritten = work(cluster)
    old = "" if rewrite_only else " The old keys are gone from the configuration."
    click.echo(
        f"{rewritten.objects} objects are encrypted with the first key of "
        f"{cluster.encryption_config}.{old} Backups from before need the keys that are in them."
    )


@click.group(invoke_without_command=True)
@cluster_name
@click.pass_context
def certificates(context: click.Context, name: str) -> None:
    """List a cluster's certificates: when they end, and when they are renewed."""
    from tiphys.cluster import renewal

    context.obj = name
    if context.invoked_subcommand is not None:
        return
    with explained():
        rows = renewal.rows(with_server(name))
    width = max(len(row.file) for row in rows)
    for row in rows:
        renewed = f"renewed from {row.due:%Y-%m-%d %H:%M} on" if row.due else "an authority"
        click.echo(f"{row.file:<{width}}  ends {row.end:%Y-%m-%d %H:%M}  {renewed}  {row.subject}")


@certificates.command("renew")
@click.pass_obj
def certificates_renew(name: str) -> None:
    """Make all of them anew; who uses them notices within seconds. Authorities stay."""
    from tiphys.cluster import renewal

    with explained():
        renewal.renew(with_server(name), renews_all=True)
    click.echo(f"The certificates of {name} are new.")


@click.command()
@cluster_name
def upgrade(name: str) -> None:
    """Run a cluster's components from the release that is installed now, one after the other.

    Pods run on, and no request of a client fails. An earlier release can be installed and upgraded
    to as well, unless the store's format is newer than it knows. On several machines of a control
    plane: one after the other.
    """
    import tiphys
    from tiphys.cluster import upgrading

    with explained():
        cluster = with_server(name)
        before = cluster.release or "an earlier release"
        for replaced in upgrading.upgrade(cluster):
            click.echo(f"{replaced.name}: replaced in {replaced.seconds:.1f} s")
    click.echo(f"{name} runs tiphys {tiphys.__version__}; it was {before}.")


COMMANDS = (backup, restore, migrate, rotate_encryption_key, certificates, upgrade)
