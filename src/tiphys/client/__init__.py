"""The client: typed calls, informers, work queues, events, leader election, and how a
`component` lives by them. What controllers are built from. `servers` are a cluster's API servers,
of which the client asks another one when its own is away. What servers of ours share is here, too:
`front`, `listening`, `servertls`, `websockets`; and what keeps Python's collector from stopping a
process that holds much: `collection`.

Objects are the structs of `tiphys.api`. Imports only api and machinery, so that a program that uses
it loads nothing of the server.
"""

from tiphys.client.client import Client
from tiphys.client.config import Config, load
from tiphys.client.informer import Informer, Informers
from tiphys.client.queue import WorkQueue

__all__ = ["Client", "Config", "Informer", "Informers", "WorkQueue", "load"]
