"""FLOOR 0, pure: what a conversation decides, with no clock, no I/O and no vendor."""
