"""Speech recognisers behind `duologue.ports.asr`."""
