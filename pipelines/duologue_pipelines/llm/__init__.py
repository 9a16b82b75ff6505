"""Language models:

any endpoint that speaks OpenAI's chat protocol, and an embedded stand-in that admits what it is.
"""
