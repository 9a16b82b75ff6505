"""Voice activity detectors behind `duologue.ports.vad`."""
