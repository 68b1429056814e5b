"""The list of controllers, and the modules that it names."""

from __future__ import annotations

import importlib
import pkgutil

from tiphys import controllers
from tiphys.controllers.registry import CONTROLLERS
from tiphys.controllers.shell import Controller


def test_every_controller_is_in_the_list_once_and_has_a_name_of_its_own() -> None:
    for module in pkgutil.iter_modules(controllers.__path__):
        importlib.import_module(f"tiphys.controllers.{module.name}")
    written = {
        kind
        for base in (Controller, *Controller.__subclasses__(), *_further(Controller))
        for kind in base.__subclasses__()
        if kind.name and kind.__module__.startswith("tiphys.controllers.")
    }
    assert written == set(CONTROLLERS) and len(CONTROLLERS) == len(written)
    names = [kind.name for kind in CONTROLLERS]
    assert len(set(names)) == len(names)


def _further(base: type[Controller]) -> list[type[Controller]]:
    found = []
    for kind in base.__subclasses__():
        found += [kind, *_further(kind)]
    return found
