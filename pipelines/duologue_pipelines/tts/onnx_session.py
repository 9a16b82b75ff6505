"""How a voice's graph is opened in onnxruntime."""

import onnxruntime


def open_session(model: bytes | str, threads: int) -> onnxruntime.InferenceSession:
    """`model`: a path, or a graph serialised. `threads`: for one run; runs of several threads may overlap."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait would take the core from the recogniser.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
