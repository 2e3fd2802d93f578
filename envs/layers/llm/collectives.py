"""Layer 4, exchanges between the boards of a replica in an iteration.

Tensor parallelism splits every matrix over g boards. vLLM adds their parts up twice a layer, after attention and after
the feed-forward layer, and once after the embedding, which is split by rows: 2 layers + 1 all-reduces of tokens x width
values of 16 bits. Each board computes the logits of its own share of the vocabulary; an all-gather of sequences x
vocabulary values brings them together.
"""

from __future__ import annotations

import numpy as np

from tokenfleet.envs.layers.gpu import InterconnectSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.part import Float64Array

ACTIVATION_BYTES = 2.0  # of a value between layers, whatever the precision of the weights
GATHERED = 64.0  # sequences whose logits the rate is taken from


def all_reduces_s(
    model: ModelSpec, interconnect: InterconnectSpec, tensor_parallel: int, tokens: Float64Array
) -> Float64Array:
    """All-reduces of an iteration that computes so many tokens, `[...]` [s].

    >>> from tokenfleet.envs.layers.gpu import load_interconnect
    >>> from tokenfleet.envs.layers.llm import load_model
    >>> model, tokens = load_model("qwen3-32b"), np.array([128.0, 2048.0])
    >>> [[round(1e3 * float(s)) for s in all_reduces_s(model, load_interconnect(name), 2, tokens)] for name in
    ...  ("nvlink-4", "pcie-5")]
    [[1, 13], [5, 75]]
    """
    size_bytes = ACTIVATION_BYTES * model.width * tokens
    return (2 * model.layers + 1) * interconnect.collective_s("all_reduce", tensor_parallel, size_bytes)


def dispatch_s(
    model: ModelSpec, interconnect: InterconnectSpec, parallelism: Parallelism, tokens: Float64Array
) -> Float64Array:
    """Tokens of all groups to the experts of every board and back, `[...]` [s]; none without data parallelism.

    In each layer with routed experts, all boards gather the tokens of an iteration, and reduce and scatter what experts
    make of them: vLLM's way within a server.

    >>> from tokenfleet.envs.layers.gpu import load_interconnect
    >>> from tokenfleet.envs.layers.llm import load_model
    >>> sent = load_model("qwen3-235b-a22b-fp8"), load_interconnect("nvlink-4")
    >>> [float(dispatch_s(*sent, Parallelism(1, 8, 8), np.array([n])).round(4)[0]) for n in (8.0, 4096.0)]
    [0.0023, 0.021]
    """
    if parallelism.data == 1:
        return np.zeros_like(tokens)
    size_bytes = ACTIVATION_BYTES * model.width * tokens
    gathered_s = interconnect.collective_s("all_gather", parallelism.boards, size_bytes)
    return model.routed_layers * (
        gathered_s + interconnect.collective_s("reduce_scatter", parallelism.boards, size_bytes)
    )


def stage_s(
    model: ModelSpec, interconnect: InterconnectSpec, parallelism: Parallelism, tokens: Float64Array
) -> Float64Array:
    """From one stage of a pipeline to the next, `[...]` [s]: activations and residual, each board a share of them.

    Args:
        model: the model.
        interconnect: how the boards are wired.
        parallelism: how they share the model.
        tokens: of the part of a batch that goes on, of all groups.
    """
    sent_bytes = 2.0 * ACTIVATION_BYTES * model.width * tokens / (parallelism.tensor * parallelism.data)
    return interconnect.send_s(sent_bytes)


def logits_s(model: ModelSpec, interconnect: InterconnectSpec, tensor_parallel: int) -> float:
    """All-gather of the logits of one sequence, in a batch of many [s]."""
    size_bytes = ACTIVATION_BYTES * model.vocabulary * GATHERED
    return interconnect.collective_s("all_gather", tensor_parallel, size_bytes) / GATHERED
