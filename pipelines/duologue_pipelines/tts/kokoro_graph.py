"""Kokoro's graph made to tell how long each symbol lasts, and to be told how long it may.

The model (StyleTTS 2: durations, then pitch, then an iSTFT decoder) rounds a duration in frames for each symbol and
stretches everything by them. That tensor becomes an output, for word times, and gets a limit as an input: part of the
silence before the words is the duration of the empty symbol there, so a limit on it spares the waiting and the work
alike. A graph of another make stays as it is.
"""

from typing import Final

import onnx
from onnx import helper

LIMITS_INPUT: Final = "duration_limits"
DURATIONS_OUTPUT: Final = "limited_durations"


def with_limits(model: onnx.ModelProto) -> bool:
    """Change `model`: durations (float32, shape (1, n), frames) go out, limits of the same shape come in.

    False where the durations can't be found: they are the one tensor that is rounded and then clipped from below.
    """
    rounded = {output for node in model.graph.node if node.op_type == "Round" for output in node.output}
    clips = [node for node in model.graph.node if node.op_type == "Clip" and node.input[0] in rounded]
    if len(clips) != 1:
        return False
    durations = clips[0].output[0]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == durations:
                node.input[index] = DURATIONS_OUTPUT
    at = next(index for index, node in enumerate(model.graph.node) if durations in node.output)
    model.graph.node.insert(at + 1, helper.make_node("Min", [durations, LIMITS_INPUT], [DURATIONS_OUTPUT]))
    shape = (1, None)
    model.graph.input.append(helper.make_tensor_value_info(LIMITS_INPUT, onnx.TensorProto.FLOAT, shape))
    model.graph.output.append(helper.make_tensor_value_info(DURATIONS_OUTPUT, onnx.TensorProto.FLOAT, shape))
    return True


def load_with_limits(path: str) -> bytes | None:
    """The graph at `path` with limits, serialised; None where it is of another make."""
    model = onnx.load(path)
    return bytes(model.SerializeToString()) if with_limits(model) else None
