"""Conversations by the thousand in virtual time, with everything going wrong that can, and the rules checked on each.

`duologue sim` drives the core against a modelled world (events, no frames); `duologue sim --whole` the whole runtime
with frames and tasks. A seed is a conversation: the same seed, the same bytes.
"""
