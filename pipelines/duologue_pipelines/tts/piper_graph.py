"""A Piper voice's graph cut in parts, so that its first audio need not wait for its last.

A VITS voice is an encoder (phonemes to one vector a frame, with the durations), a flow (those to the latent) and a
HiFi-GAN decoder (latent to samples). Flow and decoder are stacks of convolutions with a short reach, so a window of
frames with a margin on both sides gives the same samples as the whole: the cut makes synthesis a stream. A graph that
can't be cut cleanly, a voice of another make, stays whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, NamedTuple

import onnx
from onnx import helper

_FIRST_DECODER_WEIGHT: Final = "dec.conv_pre.weight"  # the name that VITS gives it, in every Piper export
_FIRST_DECODER_NODE: Final = "/dec/conv_pre/Conv"  # the node's, should constant folding have renamed the weight
_FLOW_NODES: Final = "/flow/"
_ENCODER_INPUTS: Final = frozenset({"input", "input_lengths", "scales"})


@dataclass(frozen=True, slots=True)
class VitsParts:
    """How the two halves fit. `latent`: the tensor between them, float32 of shape (1, channels, frames).

    `durations`: the encoder's output with frames a phoneme id, or empty. `hop`: samples a frame. `decoder_inputs`:
    names of the decoder's inputs besides the latent (the speaker).
    """

    latent: str
    channels: int
    durations: str
    hop: int
    decoder_inputs: tuple[str, ...]
    flow: "FlowPart | None"


@dataclass(frozen=True, slots=True)
class FlowPart:
    """The flow between encoder and latent: convolutions again, so it too can be run in windows.

    `prior`, `mask`: what goes in, float32 of shapes (1, channels, frames) and (1, 1, frames); out comes the latent.
    `inputs`: names of what it takes besides (the speaker).
    """

    prior: str
    mask: str
    inputs: tuple[str, ...]


class Cut(NamedTuple):
    """The parts, serialised, and how they fit; `flow` is empty where the encoder holds it.

    The bytes are as large as the voice: open them and let them go.
    """

    encoder: bytes
    decoder: bytes
    flow: bytes
    parts: VitsParts


def durations_output(model: onnx.ModelProto) -> str:
    """The tensor with frames a phoneme id (VITS rounds them up: the graph's one Ceil), or empty where unclear."""
    outputs = [output for node in model.graph.node if node.op_type == "Ceil" for output in node.output]
    return outputs[0] if len(outputs) == 1 else ""


def with_durations(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its durations among the outputs, where it has any; the same object, changed."""
    durations = durations_output(model)
    if durations and all(output.name != durations for output in model.graph.output):
        model.graph.output.append(helper.make_tensor_value_info(durations, onnx.TensorProto.FLOAT, None))
    return model


def load_and_split(path: Path) -> Cut | None:
    """The voice at `path` cut in two; see `split_vits`."""
    return split_vits(onnx.load(str(path)))


def load_timed(path: Path) -> bytes:
    """The whole graph at `path`, serialised, with its durations among the outputs where it has any."""
    return bytes(with_durations(onnx.load(str(path))).SerializeToString())


def split_vits(model: onnx.ModelProto) -> Cut | None:
    """`model` cut before its decoder, or None where it is no VITS graph or can't be cut in one place.

    Inputs of the halves are what a caller feeds; a speaker that the export folded into a weight stays one.
    """
    first = next(filter(_begins_decoder, model.graph.node), None)
    weight = first and next((w for w in model.graph.initializer if w.name == first.input[1]), None)
    if first is None or weight is None:
        return None
    latent, audio = first.input[0], model.graph.output[0].name
    decoder = _needed(model.graph, [audio], {latent})
    fed = _fed(model.graph)
    inputs = tuple(name for name in fed if any(name in node.input for node in decoder))
    if _ENCODER_INPUTS & set(inputs):
        return None  # the decoder looks past the latent
    durations = durations_output(model)
    flow = _flow_part(model.graph, latent, fed)
    between = flow.prior if flow else latent
    outputs = [between, durations] if durations else [between]
    encoder = _needed(model.graph, outputs, set())
    if first in encoder:
        return None
    parts = VitsParts(
        latent=latent,
        channels=weight.dims[1],
        durations=durations,
        hop=prod(_stride(node) for node in decoder if node.op_type == "ConvTranspose"),
        decoder_inputs=inputs,
        flow=flow,
    )
    return Cut(
        encoder=_model(model, encoder, fed, outputs),
        decoder=_model(model, decoder, [latent, *inputs], [audio]),
        flow=_flow_model(model, flow, latent) if flow else b"",
        parts=parts,
    )


def _flow_part(graph: onnx.GraphProto, latent: str, fed: tuple[str, ...]) -> FlowPart | None:
    """The flow, where it stands between one tensor of the encoder and the masked latent, by VITS's names."""
    maker = {output: node for node in graph.node for output in node.output}
    first = next((node for node in graph.node if node.name.startswith(_FLOW_NODES)), None)
    last = maker.get(latent)
    if first is None or last is None or last.op_type != "Mul":
        return None
    prior = first.input[0]
    masks = [name for name in last.input if not getattr(maker.get(name), "name", "").startswith(_FLOW_NODES)]
    if len(masks) != 1 or prior not in maker:
        return None
    needed = _needed(graph, [latent], {prior, masks[0]})
    inputs = tuple(name for name in fed if any(name in node.input for node in needed))
    return None if _ENCODER_INPUTS & set(inputs) else FlowPart(prior, masks[0], inputs)


def _flow_model(model: onnx.ModelProto, flow: FlowPart, latent: str) -> bytes:
    nodes = _needed(model.graph, [latent], {flow.prior, flow.mask})
    return _model(model, nodes, [flow.prior, flow.mask, *flow.inputs], [latent])


def _fed(graph: onnx.GraphProto) -> tuple[str, ...]:
    """What a caller must feed. Graphs before IR 4 list their weights among the inputs; a folded speaker is a weight."""
    weights = {weight.name for weight in graph.initializer}
    return tuple(info.name for info in graph.input if info.name not in weights)


def _begins_decoder(node: onnx.NodeProto) -> bool:
    named = node.name == _FIRST_DECODER_NODE or (len(node.input) > 1 and node.input[1] == _FIRST_DECODER_WEIGHT)
    return node.op_type == "Conv" and named


def _stride(node: onnx.NodeProto) -> int:
    return next((int(attribute.ints[0]) for attribute in node.attribute if attribute.name == "strides"), 1)


def _needed(graph: onnx.GraphProto, outputs: Iterable[str], stop: set[str]) -> list[onnx.NodeProto]:
    """Nodes that `outputs` are made of, in the graph's order, without going past the tensors `stop`."""
    maker = {output: index for index, node in enumerate(graph.node) for output in node.output}
    found: set[int] = set()
    wanted = list(outputs)
    while wanted:
        name = wanted.pop()
        index = maker.get(name)
        if name in stop or index is None or index in found:
            continue
        found.add(index)
        node = graph.node[index]
        wanted.extend(node.input)
        # Bodies of If and Loop use tensors from outside without listing them as inputs.
        bodies = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
        wanted.extend(name for body in bodies for inner in body.node for name in inner.input)
    return [graph.node[index] for index in sorted(found)]


def _model(whole: onnx.ModelProto, nodes: list[onnx.NodeProto], inputs: Iterable[str], outputs: Iterable[str]) -> bytes:
    known = {info.name: info for info in (*whole.graph.input, *whole.graph.output)}
    used = {name for node in nodes for name in node.input}
    bodies = (a.g for node in nodes for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    used.update(name for body in bodies for inner in body.node for name in inner.input)
    infos = [
        known.get(name) or helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, None, None))
        for name in inputs
        if name in used
    ]
    results = [known.get(name) or helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    weights = [weight for weight in whole.graph.initializer if weight.name in used]
    graph = helper.make_graph(nodes, whole.graph.name or "part", infos, results, weights)
    part = helper.make_model(graph, opset_imports=whole.opset_import, ir_version=whole.ir_version)
    return bytes(part.SerializeToString())
