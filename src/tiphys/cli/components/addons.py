"""`tiphys addons`: the process that the enabled add-ons run in, or one of them alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiphys.cli.logs import configure, log_format
from tiphys.cli.monitoring import component_client, monitored
from tiphys.cli.process import end_process, run_process

if TYPE_CHECKING:
    from tiphys.client.component import Ending
    from tiphys.client.informer import Informers
    from tiphys.client.monitoring import Endpoint
    from tiphys.client.tasks import TaskGroup

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("--kubeconfig", type=_FOLDER, default=None, help="Default: that of the pod it is in.")
@click.option("--data-dir", type=_FOLDER, default=Path("/data"), show_default=True)
@click.option(
    "--only", default="", help="Run this add-on alone, with the identity of the kubeconfig."
)
@click.option("--settings", default="{}", help="Its settings as JSON, with --only.")
@click.option("--machines", type=_FOLDER, default=None, help="Socket where nodes are asked for.")
@monitored(0)
@log_format
def addons(
    kubeconfig: Path | None,
    data_dir: Path,
    only: str,
    settings: str,
    machines: Path | None,
    log_format: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the enabled add-ons."""
    from tiphys.addons import OPTIONAL, host
    from tiphys.client.component import lead_and_run
    from tiphys.client.informer import Informers

    configure(log_format)

    async def main() -> Ending:
        async with component_client(kubeconfig, "tiphys-addons", endpoint) as client:

            async def start(tasks: TaskGroup) -> Informers:
                if not only:
                    return host.Host(client, OPTIONAL, data_dir, tasks, machines=machines).start()
                work = host.run_alone(client, OPTIONAL[only], json.loads(settings), data_dir, tasks)
                tasks.start(work, only, vital=True)
                return Informers(client, tasks)

            return await lead_and_run(client, "tiphys-addons", False, start)

    end_process(run_process(main()))
