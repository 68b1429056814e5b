"""A request on its way in and its answer on the way out: the socket, limits of heads and bodies,
options, verbs, lists, watches.

Enters: a connection (`serving`). Leaves: bytes in the form that the client accepts (`respond`).
"""
