"""Calls that are kept: held over a file transport, shown live, and written down in a folder."""
