"""Layer 4, what boards that share a model tell one another in an iteration.

Tensor parallelism splits every matrix over g boards. vLLM adds their parts up twice a layer, after attention and after
the feed-forward layer, and once after the embedding, which is split by rows: 2 layers + 1 all-reduces of tokens x width
values of 16 bits. Each board computes the logits of its own share of the vocabulary; an all-gather of sequences x
vocabulary values brings them together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import InterconnectSpec
from tokenfleet.envs.layers.llm.model import ModelSpec

ACTIVATION_BYTES = 2.0  # of a value between layers, whatever the precision of the weights
GATHERED = 64.0  # sequences whose logits the rate is taken from

Float64Array = NDArray[np.float64]


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


def logits_s(model: ModelSpec, interconnect: InterconnectSpec, tensor_parallel: int) -> float:
    """All-gather of the logits of one sequence, in a batch of many [s]."""
    size_bytes = ACTIVATION_BYTES * model.vocabulary * GATHERED
    return interconnect.collective_s("all_gather", tensor_parallel, size_bytes) / GATHERED
