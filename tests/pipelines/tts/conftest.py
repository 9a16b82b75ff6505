"""A Piper voice with random weights and the true structure of a VITS export, small enough to build in a test."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

CHANNELS = 24
RATES = (8, 8, 2, 2)  # a medium voice's upsampling: 256 samples a frame
KERNELS = (16, 16, 4, 4)
DILATIONS = ((1, 2), (2, 6), (3, 12))  # its residual blocks, which decide how far the decoder reaches
BLOCK_KERNELS = (3, 5, 7)


class _Graph:
    """Nodes and weights as the exporter names them."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        scale = 1.0 / np.sqrt(max(int(np.prod(shape[1:])), 1))
        return self.constant(name, (self.random.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, name: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name or f"/{kind}_{output}", **attributes))
        return output


def _encoder(g: _Graph) -> str:
    """Phonemes to a latent (1, CHANNELS, frames): embedding, durations, expansion, noise."""
    x = g.node("Gather", [g.weight("enc_p.emb.weight", 256, CHANNELS), "input"], "embedded")
    logits = g.node("MatMul", [x, g.weight("dp.proj.weight", CHANNELS, 1)], "logw")
    length = g.node("Gather", ["scales", g.constant("one", np.array([1], np.int64))], "length_scale")
    there = g.node("Greater", ["input_lengths", g.constant("nothing", np.array([0], np.int64))], "is_there")
    mask = g.node("Cast", [there], "x_mask", to=TensorProto.FLOAT)
    masked = g.node("Mul", [g.node("Exp", [logits], "w"), mask], "w_masked")
    stretched = g.node("Mul", [masked, length], "w_stretched")
    lengthened = g.node("Mul", [stretched, g.constant("mean_frames", np.array(5.0, np.float32))], "w_frames")
    frames = g.node("Ceil", [g.node("Transpose", [lengthened], "w_row", perm=[0, 2, 1])], "w_ceil", name="/Ceil")
    ends = g.node("CumSum", [frames, g.constant("two", np.array(2, np.int64))], "frame_ends")
    starts = g.node("Sub", [ends, frames], "frame_starts")
    total = g.node("ReduceMax", [ends], "frame_total", keepdims=0)
    zero, step = g.constant("zero", np.array(0.0, np.float32)), g.constant("step", np.array(1.0, np.float32))
    ticks = g.node("Range", [zero, total, step], "ticks")
    column = g.node("Unsqueeze", [ticks, g.constant("axes", np.array([0, 2], np.int64))], "tick_column")
    before_end = g.node("Less", [column, ends], "before_end")
    after_start = g.node("Not", [g.node("Less", [column, starts], "before_start")], "after_start")
    path = g.node("Cast", [g.node("And", [before_end, after_start], "in_phoneme")], "path", to=TensorProto.FLOAT)
    mean = g.node("Transpose", [g.node("MatMul", [path, x], "expanded")], "m_p", perm=[0, 2, 1])
    noise = g.node("RandomNormalLike", [mean], "noise", seed=3.0)
    scale = g.node("Gather", ["scales", g.constant("none", np.array([0], np.int64))], "noise_scale")
    return g.node("Add", [mean, g.node("Mul", [noise, scale], "scaled_noise")], "z", name="/Mul_z")


def _decoder(g: _Graph, latent: str, speakers: int) -> None:
    """HiFi-GAN: pre, conditioning, upsampling with residual blocks, post."""
    width = 32
    pre = [latent, g.weight("dec.conv_pre.weight", width, CHANNELS, 7)]
    x = g.node("Conv", pre, "pre", name="/dec/conv_pre/Conv", pads=[3, 3])
    if speakers > 1:
        g_emb = g.node("Gather", [g.weight("emb_g.weight", speakers, 8), "sid"], "g_row")
        column = g.node("Unsqueeze", [g_emb, g.constant("last", np.array([2], np.int64))], "g")
        x = g.node("Add", [x, g.node("Conv", [column, g.weight("dec.cond.weight", width, 8, 1)], "cond")], "pre_g")
    for i, (rate, kernel) in enumerate(zip(RATES, KERNELS, strict=True)):
        x = g.node("LeakyRelu", [x], f"act{i}", alpha=0.1)
        up = [x, g.weight(f"dec.ups.{i}.weight", width, width // 2, kernel)]
        pad = (kernel - rate) // 2
        name = f"/dec/ups.{i}/ConvTranspose"
        x = g.node("ConvTranspose", up, f"up{i}", name=name, strides=[rate], pads=[pad, pad])
        width //= 2
        x = _residual(g, x, i, width)
    post = g.node("Conv", [x, g.weight("dec.conv_post.weight", 1, width, 7)], "post", pads=[3, 3])
    audio = g.node("Tanh", [post], "audio", name="/dec/Tanh")
    g.node("Unsqueeze", [audio, g.constant("axis1", np.array([1], np.int64))], "output")


def _residual(g: _Graph, x: str, stage: int, width: int) -> str:
    total = ""
    for j, (kernel, dilations) in enumerate(zip(BLOCK_KERNELS, DILATIONS, strict=True)):
        y = x
        for k, dilation in enumerate(dilations):
            name, pad = f"dec.resblocks.{stage}.{j}.{k}", dilation * (kernel - 1) // 2
            active = g.node("LeakyRelu", [y], f"{name}.act", alpha=0.1)
            weight = g.weight(f"{name}.weight", width, width, kernel)
            conv = g.node("Conv", [active, weight], f"{name}.conv", dilations=[dilation], pads=[pad, pad])
            y = g.node("Add", [y, conv], f"{name}.sum")
        total = g.node("Add", [total, y], f"mix{stage}.{j}") if total else y
    return g.node("Mul", [total, g.constant(f"third{stage}", np.array(1 / 3, np.float32))], f"mean{stage}")


def vits_graph(speakers: int = 1) -> onnx.ModelProto:
    """The model; its audio is noise, its shape is a voice's."""
    g = _Graph()
    _decoder(g, _encoder(g), speakers)
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, (1, None)),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, (1,)),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, (3,)),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, (1,)))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 1, 1, None))
    graph = helper.make_graph(g.nodes, "vits", inputs, [output], g.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def voice_config(speakers: int = 1, **changes: object) -> dict[str, object]:
    """What stands beside a voice."""
    return {
        "audio": {"sample_rate": 22050, "quality": "medium"},
        "espeak": {"voice": "en-us"},
        "phoneme_type": "espeak",
        "num_symbols": 256,
        "num_speakers": speakers,
        "speaker_id_map": {f"speaker{n}": n for n in range(speakers)} if speakers > 1 else {},
        "inference": {"noise_scale": 0.1, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        **changes,
    }


@pytest.fixture(scope="session")
def vits() -> Callable[..., onnx.ModelProto]:
    return vits_graph


@pytest.fixture
def make_voice(tmp_path: Path) -> Callable[..., Path]:
    """Writes a voice `name` of the given model (VITS by default) and says where its `.onnx` lies."""

    def make(name: str = "en_US-random-medium", model: onnx.ModelProto | None = None, **config: object) -> Path:
        folder = tmp_path / "piper"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.onnx"
        speakers = int(str(config.get("speakers", 1)))
        onnx.save(model or vits_graph(speakers), str(path))
        described = voice_config(**config)
        path.with_name(path.name + ".json").write_text(json.dumps(described))
        return path

    return make
