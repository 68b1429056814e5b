"""Clients that people use, unchanged, against a cluster: `make compat` installs them in an
environment of their own, and `make test` runs those that are there."""
