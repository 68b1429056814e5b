"""Images from Debian packages and PyPI projects, without a registry and without a Dockerfile.

A recipe names packages; apt finds everything that they depend on, fetches and verifies it. The
files are unpacked into one layer. Scripts of packages do not run: the accounts, links and folders
that a program needs are in the recipe. The same packages give the same digest, on every machine
(with modules in Python: on every machine with the same Python, which compiles them).
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tiphys.cluster import bytecode
from tiphys.cluster.layers import MERGED, Config, LayerFiles, write_image
from tiphys.cluster.state import ClusterError
from tiphys.node.images.names import ImageNameError, full_name

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = "usr/local/lib/python3.11/dist-packages"  # where Debian 12's Python looks first
# What only installs packages, which an image never does.
_INSTALLERS = frozenset(
    (
        "adduser",
        "debconf",
        "dpkg",
        "init-system-helpers",
        "lsb-base",
        "sysvinit-utils",
        "usrmerge",
    )
)
_UNREAD = (
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/bug",
    "var/cache",
)
_USERS = {"root": 0, "nobody": 65534}


class Recipe(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An `image.yaml`.

    `packages` are Debian's, `without` are patterns of those in their closure that only their
    scripts need (``perl*``). `python` are PyPI projects (which need `python3` among the packages).
    `users` are accounts by name with their number, `folders` are empty ones by path with their
    owner's name, `links` are symbolic links by path with their target, `files` are texts by path.
    """

    name: Annotated[str, Meta(min_length=1)]
    packages: list[str] = []
    without: list[str] = []
    python: list[str] = []
    entrypoint: list[str] = []
    command: list[str] = []
    env: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    users: dict[str, int] = {}
    folders: dict[str, str] = {}
    links: dict[str, str] = {}
    files: dict[str, str] = {}


def read(file: Path) -> Recipe:
    """Raises ClusterError for what is no recipe."""
    import yaml

    try:
        return msgspec.convert(yaml.safe_load(file.read_text()), Recipe)
    except OSError as error:
        raise ClusterError(f"cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ClusterError(f"{file}: {error}") from None


def build(recipe: Recipe, out: Path, cache: Path) -> str:
    """Writes the image to `out` and returns its digest. Packages are kept in `cache`. Raises
    ClusterError."""
    _check(recipe)
    with (
        LayerFiles(merged=True) as files,
        tempfile.TemporaryDirectory(prefix="tiphys-image-") as scratch,
    ):
        for merged in MERGED[:3] + (("lib64",) if recipe.packages else ()):
            files.link(merged, f"usr/{merged}")
        files.folder("tmp", 0o1777)
        for package in _packages(recipe, cache):
            _unpack(package, files)
        if recipe.python:
            folder = Path(scratch) / "python"
            _pip(recipe.python, folder)
            files.tree(folder, _PYTHON)
        _accounts(recipe, files)
        users = {**_USERS, **recipe.users}
        for path, owner in recipe.folders.items():
            files.folder(path, owner=users[owner])
        for path, target in recipe.links.items():
            files.link(path, target)
        for path, text in recipe.files.items():
            files.file(path, text.encode(), 0o755 if text.startswith("#!") else 0o644)
        modules = Path(scratch) / "modules"
        modules.mkdir()
        bytecode.add(files, modules)
        layer = Path(scratch) / "layer.tar"
        files.write(layer)
        env = [_PATH, *(f"{name}={value}" for name, value in recipe.env.items())]
        config = Config(recipe.entrypoint, recipe.command, env, recipe.user, recipe.working_dir)
        return write_image(out, recipe.name, layer, config)


def _check(recipe: Recipe) -> None:
    try:
        full_name(recipe.name)
    except ImageNameError as error:
        raise ClusterError(f"{recipe.name} cannot be the name of an image: {error}") from None
    unknown = set(recipe.folders.values()) - {*_USERS, *recipe.users}
    if unknown:
        raise ClusterError(
            f"{recipe.name}: folders belong to {', '.join(sorted(unknown))}, who is not among users"
        )
    if recipe.python and not any(name.startswith("python3") for name in recipe.packages):
        raise ClusterError(f"{recipe.name}: PyPI projects need python3 among the packages")
    if not (recipe.packages or recipe.files):
        raise ClusterError(f"{recipe.name}: there is nothing in it")


# --- Debian ---


def _packages(recipe: Recipe, cache: Path) -> list[Path]:
    """The package files of a closure, in the order of their names. apt verifies what it fetches."""
    names = recipe.packages
    if not names:
        return []
    if shutil.which("apt-get") is None:
        raise ClusterError(
            "images from Debian packages are built on Debian: there is no apt-get here"
        )
    (cache / "partial").mkdir(parents=True, exist_ok=True)
    options = [
        "Dir::State::status=/dev/null",  # as if nothing were installed: an image has nothing
        f"Dir::Cache::archives={cache.absolute()}",
        "Debug::NoLocking=1",
        "APT::Sandbox::User=root",
    ]
    flags = [word for option in options for word in ("-o", option)]
    command = ["apt-get", "-qq", "-y", "--no-install-recommends", *flags]
    plan = _apt([*command, "--simulate", "install", *names])
    _apt([*command, "--download-only", "install", *names])
    planned = [match for line in plan.splitlines() if (match := _INSTALLED.match(line))]
    chosen = [match for match in planned if _belongs(match["name"], recipe)]
    files = sorted(_file_name(match) for match in chosen)
    return [cache / file for file in files]


_INSTALLED = re.compile(r"Inst (?P<name>\S+) \((?P<version>\S+) .*\[(?P<architecture>\w+)\]\)")


def _belongs(package: str, recipe: Recipe) -> bool:
    if package in recipe.packages:
        return True
    if package in _INSTALLERS:
        return False
    return not any(fnmatch.fnmatch(package, pattern) for pattern in recipe.without)


def _file_name(match: re.Match[str]) -> str:
    version = match["version"].replace(":", "%3a")
    return f"{match['name']}_{version}_{match['architecture']}.deb"


def _apt(command: list[str]) -> str:
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["apt-get failed"]
        raise ClusterError(f"{lines[-1]} (is the list of packages there? apt-get update)")
    return done.stdout


def _unpack(package: Path, files: LayerFiles) -> None:
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout, tarfile.open(fileobj=process.stdout, mode="r|") as archive:
        files.archive(archive, _UNREAD)
    if process.wait():
        raise ClusterError(f"{package.name} cannot be unpacked; remove it and try again")


# --- PyPI ---


def _pip(projects: list[str], folder: Path) -> None:
    """Installs projects and what they need. Compiled files would hold times: `bytecode` makes
    others."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--target", str(folder), *projects]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        raise ClusterError(f"pip: {lines[-1]}")


def own_wheel(folder: Path) -> Path:
    """The wheel of the Tiphys that runs, built from its source. Raises ClusterError where there is
    no source."""
    root = Path(__file__).parents[3]
    if not (root / "pyproject.toml").exists():
        raise ClusterError(
            "this Tiphys has no source to build a wheel from; name its project with --pip"
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(root),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"pip wheel: {done.stderr.strip().splitlines()[-1]}")
    return next(folder.glob("tiphys-*.whl"))


# --- accounts ---


def _accounts(recipe: Recipe, files: LayerFiles) -> None:
    """passwd and group, for programs that ask for names: packages make accounts in scripts, which
    do not run here."""
    users = {**_USERS, **recipe.users}
    rows = [f"{name}:x:{number}:{number}::/:/bin/sh" for name, number in users.items()]
    groups = [f"{name}:x:{number}:" for name, number in users.items()]
    files.file("etc/passwd", ("\n".join(rows) + "\n").encode())
    files.file("etc/group", ("\n".join(groups) + "\n").encode())
