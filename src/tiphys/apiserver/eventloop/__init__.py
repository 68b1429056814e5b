"""What keeps the one event loop free: turns, threads, worker processes, and the watchdog that
measures it.

Independent of resources; everything else in the API server may use it.
"""
