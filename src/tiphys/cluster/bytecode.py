"""The compiled forms of an image's Python modules.

Scripts of Debian's packages compile theirs, and do not run here; pip's would hold times. Without
them, a program that may not write beside its modules (it has an account of its own, or its root is
read-only) compiles all of them at each start: a Jupyter server takes 5.8 s of processor time to
import without them, 3.4 s with them (on a machine that others use).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiphys.cluster.layers import LayerFiles

_MODULES = ("usr/lib/python3/", "usr/lib/python3.11/", "usr/local/lib/python3.11/")
# Compiled forms differ from one minor version to the next; images have Debian 12's.
_OF_IMAGES = (3, 11)


def add(files: LayerFiles, scratch: Path) -> None:
    """Puts ``__pycache__`` beside the modules of a layer, by way of an empty folder.

    A compiled form knows its source by a hash that is not checked (PEP 552): an image does not
    change, and holds no times. What is no Python 3.11 is left as it is, as pip and Debian do. A
    builder of another minor version leaves everything as it is.
    """
    if sys.version_info[:2] != _OF_IMAGES:
        return
    modules = [path for path in files.paths() if _is_module(path)]
    for path in modules:
        source = files.content(path)
        if source is not None:
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            (scratch / path).write_bytes(source)
    _compile(scratch)
    for compiled in sorted(scratch.rglob("*.pyc")):
        files.file(str(compiled.relative_to(scratch)), compiled.read_bytes())


def _is_module(path: str) -> bool:
    """Whether it is one of those, and of no place outside: packages say where their files go."""
    return path.startswith(_MODULES) and path.endswith(".py") and ".." not in path.split("/")


def _compile(folder: Path) -> None:
    """In an interpreter of its own: what marshal writes depends on the strings that its process
    knows already, so the same modules give the same bytes only where nothing came before them."""
    interpreter = [sys.executable, "-S", "-s", "-P", "-m", "compileall"]
    options = ["-qq", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/"]
    subprocess.run([*interpreter, *options, str(folder)], env={"PYTHONHASHSEED": "0"}, check=False)
