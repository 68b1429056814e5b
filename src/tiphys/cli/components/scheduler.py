"""`tiphys scheduler`, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiphys.cli.logs import configure, log_format
from tiphys.cli.monitoring import component_client, monitored
from tiphys.cli.process import end_process, run_process

if TYPE_CHECKING:
    from tiphys.client.client import Client
    from tiphys.client.component import Ending
    from tiphys.client.informer import Informers
    from tiphys.client.monitoring import Endpoint
    from tiphys.client.tasks import TaskGroup
    from tiphys.scheduler.configuration import Profile

_FOLDER = click.Path(path_type=Path)


def profiles_of(config: Path | None) -> list[Profile]:
    """Those of a KubeSchedulerConfiguration; without one, one with the defaults. Raises
    ClickException."""
    from tiphys.scheduler.configuration import ConfigurationError, Profile
    from tiphys.scheduler.profiles import read_profiles

    try:
        return read_profiles(config) if config is not None else [Profile()]
    except (ConfigurationError, OSError) as error:
        raise click.ClickException(f"{config}: {error}") from None


def start_scheduler(
    client: Client, tasks: TaskGroup, profiles: list[Profile], informers: Informers
) -> None:
    """Among the tasks; they end when it does."""
    from tiphys.scheduler.main import Scheduler

    scheduler = Scheduler(client, tasks, profiles, informers, client.metrics.registry)
    tasks.start(scheduler.run(), "scheduler", vital=True)


@click.command()
@click.option("--kubeconfig", type=_FOLDER, required=True)
@click.option("--leader-elect", type=bool, default=True, show_default=True)
@click.option("--config", type=_FOLDER, default=None, help="A KubeSchedulerConfiguration.")
@monitored(10259)
@log_format
def scheduler(
    kubeconfig: Path,
    leader_elect: bool,
    config: Path | None,
    log_format: str,
    endpoint: Endpoint | None,
) -> None:
    """Run the scheduler."""
    from tiphys.client.component import lead_and_run
    from tiphys.client.informer import Informers

    configure(log_format)
    profiles = profiles_of(config)

    async def main() -> Ending:
        async with component_client(kubeconfig, "tiphys-scheduler", endpoint) as client:

            async def start(tasks: TaskGroup) -> Informers:
                informers = Informers(client, tasks)
                start_scheduler(client, tasks, profiles, informers)
                return informers

            return await lead_and_run(client, "kube-scheduler", leader_elect, start)

    end_process(run_process(main()))
