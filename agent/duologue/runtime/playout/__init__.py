"""What of a reply has been heard, counted in samples, and the pace at which it is sent.

A `Track` is one reply's audio with the text that it speaks. A `LocalPlayout` or a `RemotePlayout`, as the transport is,
plays one track at a time and can hold, go on from the word where it was held, or cut.
"""
