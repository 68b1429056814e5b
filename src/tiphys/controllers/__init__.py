"""The controllers: loops that move the world toward what the objects say. One file each, one list in `registry`.

Every controller is a pure core (observed objects → intended writes) inside the one shell of `shell`. May import client.
"""
