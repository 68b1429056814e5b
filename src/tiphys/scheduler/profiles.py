"""Reads profiles from a KubeSchedulerConfiguration file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiphys.scheduler.configuration import ConfigurationError, Profile, parse_profiles
from tiphys.scheduler.extenders.configuration import parse_extenders
from tiphys.scheduler.plugins.registry import plugins_of


def read_profiles(file: Path) -> list[Profile]:
    """Profiles that can be run: their plugins accept the arguments. Raises ConfigurationError, and
    OSError for a file that cannot be read."""
    import yaml

    try:
        document = yaml.safe_load(file.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error)) from None
    profiles = parse_profiles(document)
    extenders = tuple(parse_extenders(document))  # all profiles have them
    for profile in profiles:
        plugins_of(profile)
    return [replace(profile, extenders=extenders) for profile in profiles]
