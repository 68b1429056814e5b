"""An operator as kopf's users write them; `kopf run` starts it."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.create("stable.example.com", "v1", "crontabs")
def made(name: str, **_: Any) -> dict[str, str]:
    return {"of": name}


@kopf.on.delete("stable.example.com", "v1", "crontabs")
def unmade(**_: Any) -> None:
    """Having this one makes kopf hold each object by a finalizer until it has run."""
