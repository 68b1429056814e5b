"""Devices that drivers offer in ResourceSlices, and how claims get theirs.

`inventory.py`: what is offered, by pool and node; `allocator.py`: which devices a node could give to some claims; `stock.py`:
all that the scheduler knows of devices, with what it has promised and not written yet. Pure but for the stock's callers.
"""
