"""`tiphys store`: values that hold no objects."""

from __future__ import annotations

import click

from tiphys.cli.clusters import cluster_name, explained, own_cluster


@click.group()
def store() -> None:
    """Find and remove corrupted values in a cluster's store."""


@store.command("check")
@cluster_name
def check(name: str) -> None:
    """List the keys that hold no objects, one a line; exit with 1 if there are any."""
    from tiphys.cluster import stored

    with explained():
        corrupt = stored.check(own_cluster(name))
    for value in corrupt:
        click.echo(f"{value.key}\trevision {value.revision}\t{value.fault}")
    if corrupt:
        raise SystemExit(1)
    click.echo("Every key holds an object.")


@store.command("remove")
@cluster_name
@click.argument("key")
def remove(name: str, key: str) -> None:
    """Remove a key whose value is corrupted. With SQLite the cluster must be down."""
    from tiphys.cluster import stored

    with explained():
        stored.remove(own_cluster(name), key)
    click.echo(f"{key} is gone.")
