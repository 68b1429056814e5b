"""Renewing a cluster's certificates before they end. The authorities stay.

The supervisor runs this as a process when the first of them is due. Components look at their files
and load what is new (`client/certfiles`); the administrator's is put into the user's kubeconfig.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from tiphys.cluster import credentials, kubeconfig
from tiphys.cluster.certificates import due, write_private
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.cluster.supervisor import RENEW_AT

_AUTHORITY = "ca.crt"
_AT_LEAST = datetime.timedelta(days=1)  # between two looks when nothing is due


class Row(NamedTuple):
    """A certificate. `due`: from when on it is renewed; None for an authority's own."""

    file: str
    subject: str
    end: datetime.datetime
    due: datetime.datetime | None


def rows(cluster: Cluster) -> list[Row]:
    """Every certificate of a cluster, the one that ends first at the top. Raises ClusterError."""
    return sorted(_rows(cluster), key=lambda row: row.end)


def _rows(cluster: Cluster) -> Iterator[Row]:
    for file in cluster.pki.rglob("*.crt"):
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
        except ValueError as error:
            raise ClusterError(
                f"{file} is damaged ({error}); make it anew with: "
                f"tiphys certificates --name {cluster.name} renew"
            ) from None
        is_authority = file.name == _AUTHORITY
        yield Row(
            str(file.relative_to(cluster.pki)),
            certificate.subject.rfc4514_string(),
            certificate.not_valid_after_utc,
            None if is_authority else due(certificate),
        )


def renew(cluster: Cluster, renews_all: bool = False) -> None:
    """Renews what is due, or everything. Raises ClusterError."""
    credentials.ensure(cluster, renews_all)
    with contextlib.suppress(ClusterError):  # the user's file is the user's
        kubeconfig.refresh(cluster)
    note_due(cluster)


def note_due(cluster: Cluster) -> None:
    """Writes down for the supervisor when the first certificate is due."""
    now = datetime.datetime.now(datetime.UTC)
    # What is overdue after a renewal is of a node that is no longer there.
    coming = [row.due for row in _rows(cluster) if row.due is not None and row.due > now]
    first = min(coming, default=now + _AT_LEAST)
    write_private(cluster.root / RENEW_AT, str(first.timestamp()).encode())


def main() -> None:
    """``python -m tiphys.cluster.renewal ROOT``: ROOT is the cluster's folder."""
    from tiphys.cluster import state

    cluster = state.load("", Path(sys.argv[1]))
    if cluster is not None:
        renew(cluster)


if __name__ == "__main__":
    main()
