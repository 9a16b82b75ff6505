"""Where Duologue touches the world: one folder a stage, one file a vendor.

Vendors are imported here and nowhere else.
"""
