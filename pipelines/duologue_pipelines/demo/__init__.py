"""The demo: a synthetic caller who does what people do, and a verdict on each thing."""

from duologue_pipelines.demo.run import run_demo

__all__ = ["run_demo"]
