"""Shipped for tests: a virtual-time loop, scripted ports and transports, and the contract kits of the five ports."""
