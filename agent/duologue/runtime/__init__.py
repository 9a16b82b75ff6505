"""FLOOR 3: the shell around the core.

It carries out and never decides; besides `testing` the only asyncio in `agent/`.
"""
