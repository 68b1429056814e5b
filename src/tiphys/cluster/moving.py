"""Moving a cluster's store between SQLite and etcd, under a stop of its API server of seconds."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from tiphys.cluster import preflight
from tiphys.cluster.copying import Pause, load_dump, write_dump
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.store import dump


class Moved(NamedTuple):
    """How many objects were moved, how long the API was away, and where the old store lies."""

    objects: int
    seconds: float
    left: str


def migrate(cluster: Cluster, store: str, etcd_tls: list[str]) -> Moved:
    """Moves everything into another store and compares it there. Raises ClusterError; then the
    cluster is as it was."""
    target = copy.deepcopy(cluster)
    target.store = store
    target.etcd_tls = etcd_tls
    if store == cluster.store:
        raise ClusterError(f"{cluster.name} keeps its objects in {store} already")
    preflight.check_store(target)
    with Pause(cluster) as pause, tempfile.TemporaryDirectory(dir=cluster.root) as folder:
        source_dump = Path(folder) / "source.db"
        moved = write_dump(cluster, source_dump)
        leftover = cluster.root / "etcd"
        if store == "etcd" and leftover.exists():
            raise ClusterError(
                f"{leftover} is there already; remove it if it is of an earlier attempt"
            )
        try:
            load_dump(target, source_dump, 0)
            _compare(target, source_dump, Path(folder) / "target.db")
        except BaseException:
            _discard(target)
            raise
        left = _set_aside(cluster)
        cluster.store = target.store
        cluster.etcd_tls = target.etcd_tls
        cluster.save()
    return Moved(moved.keys, pause.seconds, left)


def _compare(target: Cluster, source_dump: Path, target_dump: Path) -> None:
    """Reads everything back and compares it byte for byte."""
    write_dump(target, target_dump)
    before = {row.key: row.value for row in dump.rows_of(source_dump)}
    after = {row.key: row.value for row in dump.rows_of(target_dump)}
    if before == after:
        return
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    raise ClusterError(
        f"{len(keys)} objects are not the same in {target.store} ({keys[0]} for one); nothing was "
        "changed"
    )


def _discard(target: Cluster) -> None:
    """Removes what was written into a store of ours that did not come to be used."""
    if target.store == "etcd":
        shutil.rmtree(target.root / "etcd", ignore_errors=True)
    elif target.store == "sqlite":
        (target.root / "state.db").unlink(missing_ok=True)


def _set_aside(cluster: Cluster) -> str:
    """Keeps the old store under another name, in which nothing finds it by mistake."""
    if cluster.store == "sqlite":
        old = cluster.root / "state.db"
        kept = old.with_name("state.db.old")
    elif cluster.store == "etcd":
        old = cluster.root / "etcd"
        kept = old.with_name("etcd.old")
        shutil.rmtree(kept, ignore_errors=True)
    else:
        return cluster.store  # an etcd of somebody else's
    old.rename(kept)
    return str(kept)
