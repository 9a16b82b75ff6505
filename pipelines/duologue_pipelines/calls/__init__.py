"""Calls that are kept: run over a file transport, shown live, and written down in a folder."""
