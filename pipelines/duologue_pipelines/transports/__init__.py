"""The caller's side: audio files, scripted callers, and what they are made of."""
