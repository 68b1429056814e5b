"""Removing what a volume held."""

from __future__ import annotations

import os

from tiphys.machinery import handles


def remove_folder(path: str) -> None:
    """Removes a folder and what is in it. Pods may have written anything there: no link is
    followed. Raises OSError."""
    above, name = os.path.split(path)
    try:
        parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # no pod ever used it
    try:
        handles.remove_tree(parent, name)
    finally:
        os.close(parent)
