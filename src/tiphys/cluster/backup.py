"""Backups: everything that a cluster needs to come back, in one file, and coming back from it.

A backup has the objects as they were at one moment, the authorities and keys that clients and pods
trust, and the configuration, that of encryption included. It has neither containers, images nor the
contents of volumes.
"""

from __future__ import annotations

import datetime
import re
import shutil
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import tiphys
from tiphys.cluster import archive, components, encryption, state
from tiphys.cluster.archive import Lock, Manifest
from tiphys.cluster.copying import load_dump, write_dump
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.store.dump import BUMP

_STORE = "store.db"
_PKI = "pki"
# Files of the cluster's options, and what they are called in a backup.
_CONFIGURATION = {
    "encryption_config": encryption.OWN_FILE,
    "scheduler_config": "scheduler.yaml",
    "kubelet_config": "kubelet.yaml",
    "audit_policy": "audit-policy.yaml",
}
_REPLACED = ("state.db", "state.db-wal", "state.db-shm", "etcd", _PKI, *_CONFIGURATION.values())


def backup(cluster: Cluster, target: Path, lock: Lock) -> Manifest:
    """Writes a backup while the cluster runs, or while it is down. Raises ClusterError."""
    try:
        folder_of = tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".tiphys-")
    except OSError as error:
        raise ClusterError(f"{target} cannot be written: {error.strerror}") from None
    with folder_of as name:
        folder = Path(name)
        try:
            _copy_configuration(cluster, folder)
        except OSError as error:
            raise ClusterError(f"{error.filename} cannot be read: {error.strerror}") from None
        stored = write_dump(cluster, folder / _STORE)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = Manifest(tiphys.__version__, now, asdict(cluster), stored.revision, stored.keys)
        archive.write(target.absolute(), manifest, folder, lock)
    return manifest


def _copy_configuration(cluster: Cluster, folder: Path) -> None:
    shutil.copytree(cluster.pki, folder / _PKI)
    for option, name in _CONFIGURATION.items():
        file = getattr(cluster, option)
        if file:
            shutil.copyfile(file, folder / name)


class Restoring:
    """What a restore is to become: the command line of `tiphys restore`.

    data_dir, port, store: None: as they were
    replace:               whether the data of a cluster that is there may be set aside
    """

    def __init__(
        self,
        name: str | None = None,
        data_dir: Path | None = None,
        port: int | None = None,
        store: str | None = None,
        replace: bool = False,
    ) -> None:
        self.name = name
        self.data_dir = data_dir
        self.port = port
        self.store = store
        self.replace = replace


def restore(source: Path, lock: Lock, wanted: Restoring) -> tuple[Cluster, Manifest]:
    """Puts a cluster's data in place from a backup; `tiphys up` starts it then. Raises
    ClusterError; then nothing has changed.

    Revisions go on a billion beyond those of the backup (as upstream advises for etcd): clients
    that saw the time in between get 410 for their watches and list again.
    """
    with tempfile.TemporaryDirectory(prefix="tiphys-restore-") as name:
        folder = Path(name)
        manifest = archive.extract(source, folder, lock)
        _check_version(source, manifest)
        cluster = _cluster_of(source, manifest, wanted)
        _check_free(cluster, wanted)
        cluster.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = _set_aside(cluster)
        try:
            _place_configuration(cluster, folder)
            load_dump(cluster, folder / _STORE, BUMP)
        except BaseException:
            _put_back(cluster, aside)
            raise
        state.remember(cluster)
    return cluster, manifest


def _check_version(source: Path, manifest: Manifest) -> None:
    if version_of(manifest.version) > version_of(tiphys.__version__):
        raise ClusterError(
            f"{source} was made by tiphys {manifest.version}, and this is {tiphys.__version__}; "
            "install that release, or a later one, to restore it"
        )


def version_of(text: str) -> tuple[int, ...]:
    """``(0, 12, 1)`` of ``0.12.1``, for comparing releases."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0])[:3])


def _cluster_of(source: Path, manifest: Manifest, wanted: Restoring) -> Cluster:
    known = {field.name for field in fields(Cluster)}
    saved: dict[str, Any] = {k: v for k, v in manifest.cluster.items() if k in known}
    try:
        cluster = Cluster(**saved)
    except TypeError as error:
        raise ClusterError(f"{source} is damaged: {error}") from None
    cluster.name = wanted.name or cluster.name
    existing = state.load(cluster.name)
    folder = Path(existing.data_dir) if existing is not None else state.home() / cluster.name
    folder = wanted.data_dir or folder
    cluster.data_dir = str(folder.absolute())
    cluster.port = wanted.port or cluster.port
    cluster.store = wanted.store or cluster.store
    for option, file in _CONFIGURATION.items():
        if getattr(cluster, option):
            setattr(cluster, option, str(cluster.root / file))
    return cluster


def _check_free(cluster: Cluster, wanted: Restoring) -> None:
    existing = (state.load(cluster.name), state.load(cluster.name, cluster.root))
    if any(other is not None and components.is_running(other) for other in existing):
        raise ClusterError(
            f"{cluster.name} is running; end it first (tiphys down --name {cluster.name}), or "
            "restore under another --name"
        )
    has_data = any((cluster.root / name).exists() for name in ("cluster.json", *_REPLACED))
    if has_data and not wanted.replace:
        raise ClusterError(
            f"{cluster.root} has the data of a cluster; --replace sets it aside, or restore under "
            "another --name"
        )
    networks = ", ".join(cluster.service_cidrs)
    for other in state.everyone():
        if other.name != cluster.name and other.number == cluster.number:
            raise ClusterError(
                f"the networks of the backup ({networks} for services) are those of "
                f"cluster {other.name} here; restore it on another machine, or remove that one: "
                f"tiphys down --purge --name {other.name}"
            )


def _set_aside(cluster: Cluster) -> Path:
    """Moves what is replaced into a folder of its own, and returns that."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    aside = cluster.root / f"replaced-{stamp}"
    for name in _REPLACED:
        if (cluster.root / name).exists():
            aside.mkdir(exist_ok=True, mode=0o700)
            (cluster.root / name).rename(aside / name)
    return aside


def _put_back(cluster: Cluster, aside: Path) -> None:
    for name in _REPLACED:
        path = cluster.root / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if (aside / name).exists():
            (aside / name).rename(path)
    if aside.exists():
        aside.rmdir()


def _place_configuration(cluster: Cluster, folder: Path) -> None:
    shutil.move(folder / _PKI, cluster.pki)
    cluster.pki.chmod(0o700)
    for name in _CONFIGURATION.values():
        if (folder / name).exists():
            shutil.move(folder / name, cluster.root / name)
