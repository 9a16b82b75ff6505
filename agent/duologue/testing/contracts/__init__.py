"""Contract kits: what every adapter of a port must do, as checks that a third party can run on its own adapter."""
