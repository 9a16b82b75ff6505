"""Synthesisers behind the TTS port, and what makes a language model's text speakable."""
