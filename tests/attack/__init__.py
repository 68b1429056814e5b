"""Attacks, as someone who tries to get through would make them: one file for each room of
docs/security.md.

`make test` runs what takes seconds; what takes minutes is marked `slow` and runs with `make
attack`.
"""
