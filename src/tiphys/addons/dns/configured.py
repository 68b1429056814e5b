"""Follows the two ConfigMaps that say how names are resolved; see `configuration`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from tiphys.addons.dns.configuration import Configuration, read
from tiphys.api import core_v1
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.client.tasks import TaskGroup

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
COREDNS, KUBE_DNS = "coredns", "kube-dns"


class Followed:
    """What the ConfigMaps say now. Calls `configure` with each change of it."""

    def __init__(self, configure: Callable[[Configuration], None]) -> None:
        self._configure = configure
        self._data: dict[str, Mapping[str, str]] = {COREDNS: {}, KUBE_DNS: {}}

    def changed(self, old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> None:
        config_map = new or old
        assert config_map is not None
        data = config_map.data if new is not None else {}
        if self._data.get(config_map.metadata.name) == data:
            return
        self._data[config_map.metadata.name] = data
        configuration = read(self._data[COREDNS], self._data[KUBE_DNS])
        for problem in configuration.problems:
            log.warning("The configuration of cluster DNS is not followed in part: %s", problem)
        self._configure(configuration)


def follow(client: Client, tasks: TaskGroup, configure: Callable[[Configuration], None]) -> None:
    """Until the tasks end. A deleted ConfigMap has no effect any more."""
    followed = Followed(configure)
    for name in (COREDNS, KUBE_DNS):
        fields = f"metadata.name={name}"
        informer = Informer(client, core_v1.ConfigMap, namespace=NAMESPACE, fields=fields)
        informer.on_change(followed.changed)
        tasks.start(informer.run(), f"informer-{name}", vital=True)
