"""Layer 4, the products of matrices that every token goes through: which a model has, and what they take on its boards.

A layer multiplies with four matrices, each split over the boards: query, key and value; attention's output; gate and
up; down. The feed-forward width is what the parameters leave beside attention, in a mixture of experts that of the
shared expert. The output matrix multiplies only tokens that a next one is drawn for: `LOGITS` of an iteration at most.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec

LOGITS = 256.0
ACTIVATION_BYTES = 2.0

Float64Array = NDArray[np.float64]


class Part(NamedTuple):
    """A part of an iteration, by its number of tokens.

    Attributes:
        time_s: `[J]` [s].
        memory_share: share of it that no clock of the core changes, `[J]`.
    """

    time_s: Float64Array
    memory_share: Float64Array


class Matrix(NamedTuple):
    """Weights [rows, columns] of one board, as many times as an iteration multiplies with the like."""

    rows: float
    columns: float
    times: int


def layer_matrices(model: ModelSpec, tensor_parallel: int) -> list[Matrix]:
    """The four of every layer, on one of the boards.

    >>> from tokenfleet.envs.layers.llm import load_model
    >>> [(round(m.rows), round(m.columns)) for m in layer_matrices(load_model("qwen3-32b"), 1)]
    [(10240, 5120), (5120, 8192), (51200, 5120), (5120, 25600)]
    """
    queries, values = model.attention_heads * model.head_dim, 2 * model.kv_heads * model.head_dim
    attention = model.width * (2 * queries + values)
    everywhere = model.active_parameters - model.expert_flops_per_token / 2.0 - model.vocabulary * model.width
    feed_forward = max(0.0, everywhere / model.layers - attention) / (3.0 * model.width)
    g, width, layers = tensor_parallel, model.width, model.layers
    always = [Matrix((queries + values) / g, width, layers), Matrix(width, queries / g, layers)]
    dense = [Matrix(2.0 * feed_forward / g, width, layers), Matrix(width, feed_forward / g, layers)]
    return always + (dense if feed_forward else [])


def products_part(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, tokens: Float64Array) -> Part:
    """All products but those with routed experts."""
    matrices = [(matrix, tokens) for matrix in layer_matrices(model, tensor_parallel)]
    output = Matrix(model.vocabulary / tensor_parallel, model.width, 1)
    matrices += [(output, np.minimum(tokens, LOGITS))] if model.vocabulary else []
    parts = [_matrix_part(gpu, model, matrix, rows) for matrix, rows in matrices]
    return together(parts)


def elementwise_part(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, tokens: Float64Array) -> Part:
    """Norms, residuals, activation, rotary embedding: their bytes."""
    qkv, _, *dense = layer_matrices(model, tensor_parallel)
    feed_forward = dense[1].columns if dense else 0.0
    values = 8.0 * model.width + 3.0 * feed_forward + 2.0 * qkv.rows
    moved_bytes = ACTIVATION_BYTES * values * model.layers * tokens
    time_s = moved_bytes / (gpu.kernels.elementwise_efficiency * gpu.memory_bandwidth_bytes_per_s)
    return Part(time_s, np.ones_like(time_s))


def together(parts: list[Part]) -> Part:
    """Several parts, one after the other."""
    time_s = np.sum([part.time_s for part in parts], axis=0)
    memory_s = np.sum([part.time_s * part.memory_share for part in parts], axis=0)
    return Part(time_s, memory_s / np.maximum(time_s, np.finfo(np.float64).tiny))


def _matrix_part(gpu: GpuSpec, model: ModelSpec, matrix: Matrix, tokens: Float64Array) -> Part:
    weights, products = matrix.rows * matrix.columns, gpu.products(model.arithmetic)
    moved_bytes = weights * model.bytes_per_parameter + ACTIVATION_BYTES * tokens * (matrix.rows + matrix.columns)
    work = (
        moved_bytes / gpu.memory_bandwidth_bytes_per_s,
        2.0 * weights * tokens / gpu.peak_flops(model.arithmetic),
        tokens * matrix.columns / gpu.memory_bandwidth_bytes_per_s,
    )
    return Part(matrix.times * products.time_s(*work), products.memory_share(*work))
