"""FLOOR 0, pure: how a text grows, is cut for the synthesiser, and what of it is spoken. The core needs none of it."""
