"""FLOOR 5, behind the command line's door: what its commands gather and how they show it."""
