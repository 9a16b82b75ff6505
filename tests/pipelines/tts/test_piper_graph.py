"""Cutting a VITS graph: the two halves say what the whole says, windows say what the halves say, others stay whole."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from duologue_pipelines.tts.piper import load_voice
from duologue_pipelines.tts.piper_graph import durations_output, load_and_split, split_vits, with_durations
from duologue_pipelines.tts.piper_voice import Sentence

IDS = np.array([[1, 0, *range(20, 60), 2]], dtype=np.int64)
FEED = {
    "input": IDS,
    "input_lengths": np.array([IDS.shape[1]], dtype=np.int64),
    "scales": np.array([0.0, 1.0, 0.8], dtype=np.float32),  # no noise: the halves are run apart from the whole
}
REAL_IDS = np.array([[1, 0, *(i for n in range(40) for i in (14 + n, 0)), 2]], dtype=np.int64)
REAL_FEED = {
    "input": REAL_IDS,
    "input_lengths": np.array([REAL_IDS.shape[1]], dtype=np.int64),
    "scales": np.array([0.0, 1.0, 0.0], dtype=np.float32),
}


def session(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("speakers", [1, 3])
def test_the_halves_together_say_what_the_whole_says(vits: Callable[..., onnx.ModelProto], speakers: int) -> None:
    model = vits(speakers)
    cut = split_vits(model)
    assert cut is not None
    parts = cut.parts
    assert (parts.latent, parts.hop, parts.durations) == ("z", 256, "w_ceil")
    speaker = {"sid": np.array([1], dtype=np.int64)} if speakers > 1 else {}
    assert parts.decoder_inputs == tuple(speaker)
    whole = session(model).run(None, FEED | speaker)[0].squeeze()
    latent, durations = session(cut.encoder).run(None, FEED)
    halves = session(cut.decoder).run(None, {"z": latent} | speaker)[0].squeeze()
    assert whole.shape == (latent.shape[2] * 256,)
    assert durations.sum() == latent.shape[2]
    np.testing.assert_allclose(halves, whole, atol=1e-6)


def test_windows_say_what_the_decoder_says_at_once(make_voice: Callable[..., Path]) -> None:
    path = make_voice(inference={"noise_scale": 0.0, "length_scale": 1.0, "noise_w": 0.8})
    voice = load_voice(path, threads=1)
    assert voice.streams
    utterance = voice.begin(Sentence([chr(c) for c in range(ord("a"), ord("z"))] * 4, ()), 1.0, 0)
    windows = list(utterance.windows)
    assert len(windows) > 3
    assert len(windows[0]) == 24 * 256  # the first window does not grow with the sentence
    config_ids = voice._piper.phonemes_to_ids([chr(c) for c in range(ord("a"), ord("z"))] * 4)
    feed = FEED | {"input": np.array([config_ids]), "input_lengths": np.array([len(config_ids)])}
    whole = session(onnx.load(str(path))).run(None, feed)[0].squeeze()
    np.testing.assert_allclose(np.concatenate(windows), whole, atol=2e-6)


def test_a_graph_of_another_make_stays_whole() -> None:
    model = plain_graph()
    assert split_vits(model) is None
    assert durations_output(model) == ""
    assert len(with_durations(model).graph.output) == 1


def test_a_decoder_that_looks_past_the_latent_is_not_cut(vits: Callable[..., onnx.ModelProto]) -> None:
    model = vits()
    post = next(node for node in model.graph.node if node.output[0] == "post")
    extra = helper.make_node("ReduceSum", ["scales"], ["scale_sum"], keepdims=0)
    sum_node = helper.make_node("Add", ["post", "scale_sum"], ["post_scaled"])
    tanh = next(node for node in model.graph.node if node.name == "/dec/Tanh")
    tanh.input[0] = "post_scaled"
    at = list(model.graph.node).index(post) + 1
    model.graph.node.insert(at, extra)
    model.graph.node.insert(at + 1, sum_node)
    assert split_vits(model) is None


def test_durations_become_an_output_once(vits: Callable[..., onnx.ModelProto]) -> None:
    model = with_durations(with_durations(vits()))
    assert [output.name for output in model.graph.output] == ["output", "w_ceil"]
    assert session(model).run(None, FEED)[1].shape == (1, 1, IDS.shape[1])


def plain_graph() -> onnx.ModelProto:
    """Samples as loud as the phonemes' numbers say: no VITS, but a voice to Piper."""
    nodes = [
        helper.make_node("Cast", ["input"], ["level"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["level", "full"], ["scaled"]),
        helper.make_node("Sin", ["scaled"], ["toned"]),
        helper.make_node("Unsqueeze", ["toned", "axis"], ["column"]),
        helper.make_node("Tile", ["column", "repeats"], ["tiled"]),
        helper.make_node("Reshape", ["tiled", "flat"], ["output"]),
    ]
    weights = [
        helper.make_tensor("full", TensorProto.FLOAT, (), [256.0]),
        helper.make_tensor("axis", TensorProto.INT64, (1,), [2]),
        helper.make_tensor("repeats", TensorProto.INT64, (3,), [1, 1, 1500]),
        helper.make_tensor("flat", TensorProto.INT64, (2,), [1, -1]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, (1, None)),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, (1,)),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, (3,)),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, None))
    graph = helper.make_graph(nodes, "plain", inputs, [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def test_a_speaker_folded_into_a_weight_stays_a_weight(vits: Callable[..., onnx.ModelProto]) -> None:
    """As in en_US-joe-medium, whose encoder reads an initialiser called `sid`."""
    model = vits()
    first = model.graph.node[next(i for i, n in enumerate(model.graph.node) if n.output[0] == "x_mask")]
    model.graph.initializer.append(helper.make_tensor("sid", TensorProto.FLOAT, (1,), [1.0]))
    first.output[0] = "x_mask_plain"
    at = list(model.graph.node).index(first) + 1
    model.graph.node.insert(at, helper.make_node("Mul", ["x_mask_plain", "sid"], ["x_mask"]))
    cut = split_vits(model)
    assert cut is not None
    assert [node.name for node in session(cut.encoder).get_inputs()] == ["input", "input_lengths", "scales"]
    latent = session(cut.encoder).run(None, FEED)[0]
    halves = session(cut.decoder).run(None, {"z": latent})[0]
    np.testing.assert_allclose(halves, session(model).run(None, FEED)[0], atol=1e-6)


def test_the_real_voice_cut_in_two_and_in_windows_is_the_whole(real_model: Callable[[str], Path]) -> None:
    path = real_model("piper:en_US-joe-medium")
    cut = load_and_split(path)
    assert cut is not None and cut.parts.flow is not None
    assert [node.name for node in session(cut.encoder).get_inputs()] == ["input", "input_lengths", "scales"]
    prior = session(cut.encoder).run(None, REAL_FEED)[0]
    mask = np.ones((1, 1, prior.shape[2]), dtype=np.float32)
    latent = session(cut.flow).run(None, {cut.parts.flow.prior: prior, cut.parts.flow.mask: mask})[0]
    halves = session(cut.decoder).run(None, {cut.parts.latent: latent})[0].squeeze()
    whole = session(onnx.load(str(path))).run(None, REAL_FEED)[0].squeeze()
    np.testing.assert_allclose(halves, whole, atol=2e-6)
    voice = load_voice(path, threads=1)
    windows = list(voice._decoded(prior, REAL_FEED))
    assert len(windows) > 3
    np.testing.assert_allclose(np.concatenate(windows), whole, atol=2e-6)  # measured: 6e-7, of a peak of 0.4
