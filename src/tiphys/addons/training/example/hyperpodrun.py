# mypy: ignore-errors
"""Starts the real agent (PyPI `hyperpod-elastic-agent`) with versions of torch that have an option
of the same name as one of its own: argparse lets the later one win."""

import argparse

container = argparse._ActionsContainer
container._handle_conflict_error = container._handle_conflict_resolve

from hyperpod_elastic_agent.run import main  # noqa: E402

main()
