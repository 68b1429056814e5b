"""The commands that `tiphys up` starts as processes: one for each component, with its flags."""

from __future__ import annotations

from tiphys.cli.components.addons import addons
from tiphys.cli.components.apiserver import apiserver, apiserver_worker
from tiphys.cli.components.controllers import controllers
from tiphys.cli.components.node import node
from tiphys.cli.components.scheduler import scheduler

COMMANDS = (apiserver, apiserver_worker, controllers, scheduler, addons, node)
