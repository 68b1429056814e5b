"""What a cluster is like: `tiphys status` and `tiphys kubeconfig`."""

from __future__ import annotations

import json
from typing import Any

import click

from tiphys.cli.clusters import cluster_name, existing, explained, with_server


@click.command()
@cluster_name
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def status(name: str, output: str) -> None:
    """Show the status of a cluster and its components."""
    from tiphys.cluster import status as cluster_status

    with explained():
        summary = cluster_status.summary(existing(name))
    if output == "json":
        click.echo(json.dumps(summary, indent=2))
        return
    running = "running" if summary["running"] else "stopped"
    nodes = f"{summary['nodesReady']}/{summary['nodes']} nodes ready"
    click.echo(f"{name}: {running}, {summary['server']}, {nodes}")
    known_as = f"context {name} in {summary['kubeconfig']}"
    if summary["node"]:
        known_as = f"node {summary['node']}"
    click.echo(f"{known_as}, data in {summary['dataDir']}")
    for row in summary["components"]:
        click.echo(f"  {_status_line(row)}")


def _status_line(row: dict[str, Any]) -> str:
    memory = f"{row['memory'] >> 20:>4} MiB"
    restarts = f", {row['restarts']} restarts" if row["restarts"] else ""
    process = f"pid {row['pid'] or '-':<8} {memory}"
    return f"{row['name']:<12} {row['health']:<19} {process}  {row['address']}{restarts}"


@click.command()
@cluster_name
def kubeconfig(name: str) -> None:
    """Print a cluster's kubeconfig."""
    import yaml

    from tiphys.cluster import kubeconfig as files

    with explained():
        click.echo(yaml.safe_dump(files.admin(with_server(name)), sort_keys=False), nl=False)
