"""nft, by which rulesets reach the kernel."""

from __future__ import annotations

import subprocess

_TIMEOUT = 60  # seconds; a ruleset of thousands of services takes some


class NftError(Exception):
    """nft refused a transaction; the text is its own."""


def nft(script: str) -> None:
    """Applies a script as one transaction. Blocks. Raises NftError, subprocess.TimeoutExpired."""
    finished = subprocess.run(
        ["nft", "-f", "-"], input=script, capture_output=True, text=True, timeout=_TIMEOUT
    )
    if finished.returncode:
        raise NftError(finished.stderr.strip())
