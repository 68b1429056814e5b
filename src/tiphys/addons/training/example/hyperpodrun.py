"""Starts the real agent (PyPI `hyperpod-elastic-agent`) with versions of torch that have an option
of the same name as one of its own: argparse lets the later one win."""

import argparse

container = argparse._ActionsContainer
container._handle_conflict_error = container._handle_conflict_resolve  # type: ignore[method-assign,attr-defined]

from hyperpod_elastic_agent.run import main  # noqa: E402  # type: ignore[import-not-found]

main()
