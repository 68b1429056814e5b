"""`tiphys image`: images from packages, and loading them into a cluster."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tiphys.cli.clusters import cluster_name, existing, explained

if TYPE_CHECKING:
    from tiphys.cluster.recipes import Recipe

_FOLDER = click.Path(path_type=Path)


@click.group()
def image() -> None:
    """Build container images and load them into a cluster."""


@image.command("load")
@cluster_name
@click.argument("files", nargs=-1, required=True, type=_FOLDER)
def load(name: str, files: tuple[Path, ...]) -> None:
    """Load images from tar files (docker save or an OCI layout)."""
    from tiphys.cluster import images

    with explained():
        cluster = existing(name)
        for file in files:
            click.echo(images.load(cluster, file))


@image.command("push")
@cluster_name
@click.argument("files", nargs=-1, required=True, type=_FOLDER)
def push(name: str, files: tuple[Path, ...]) -> None:
    """Push images from tar files (OCI layouts) to the cluster's registry.

    Its add-on has to be enabled: tiphys addon enable registry.
    """
    from tiphys.cluster import pushing

    with explained():
        cluster = existing(name)
        for file in files:
            click.echo("\n".join(pushing.push(cluster, file)))


@image.command("build")
@click.argument("recipe", required=False, type=_FOLDER)
@click.option("-t", "--tag", default="", help="Name of the image [default: the recipe's].")
@click.option("--apt", "packages", multiple=True, help="A Debian package; may be repeated.")
@click.option("--pip", "python", multiple=True, help="A PyPI project; may be repeated.")
@click.option("--self", "own", is_flag=True, help="An image of this Tiphys, as add-ons run in.")
@click.option("--entrypoint", default="", help="The program, with arguments separated by spaces.")
@click.option(
    "-o", "--output", type=_FOLDER, default=None, help="The tar file [default: NAME.tar]."
)
@click.option(
    "--load", "into", default=None, metavar="NAME", help="Load it into this cluster, too."
)
@click.option(
    "--push", "to", default=None, metavar="NAME", help="Push it to this cluster's registry, too."
)
def build(
    recipe: Path | None,
    tag: str,
    packages: tuple[str, ...],
    python: tuple[str, ...],
    own: bool,
    entrypoint: str,
    output: Path | None,
    into: str | None,
    to: str | None,
) -> None:
    """Build an image from Debian packages and PyPI projects.

    RECIPE is an image.yaml; the options add to it. No registry and no Dockerfile is needed, and the
    same packages give the same digest.
    """
    from tiphys.cluster import images, pushing, recipes

    with explained(), tempfile.TemporaryDirectory() as scratch:
        wanted = _recipe(recipe, tag, own)
        wanted.packages += packages
        wanted.python += python
        wanted.entrypoint = entrypoint.split() or wanted.entrypoint
        if own:
            wanted.python.append(str(recipes.own_wheel(Path(scratch))))
        cluster = existing(into) if into else None
        pushed_to = existing(to) if to else None
        file = output or Path(f"{wanted.name.replace('/', '_').replace(':', '_')}.tar")
        digest = recipes.build(wanted, file, _cache())
        click.echo(f"{wanted.name} {digest} in {file}")
        if cluster is not None:
            click.echo(images.load(cluster, file))
        if pushed_to is not None:
            click.echo("\n".join(pushing.push(pushed_to, file)))


def _recipe(file: Path | None, tag: str, own: bool) -> Recipe:
    import tiphys
    from tiphys.cluster import recipes

    if file is not None:
        read = recipes.read(file)
        read.name = tag or read.name
        return read
    if own:
        name = tag or f"tiphys:{tiphys.__version__}"
        return recipes.Recipe(name, packages=list(_OWN_PACKAGES), entrypoint=_OWN)
    if not tag:
        raise click.UsageError("give a recipe, or a name with --tag")
    return recipes.Recipe(tag)


# PyPI's google-re2 and grpcio are linked with the library of C++.
_OWN_PACKAGES = ["python3", "ca-certificates", "libstdc++6"]
_OWN = ["python3", "-m", "tiphys.cli.main"]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tiphys" / "packages"
