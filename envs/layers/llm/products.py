"""Layer 4, the products of matrices that every token goes through: those of a model, and their time on its boards.

A layer multiplies with four matrices, each split over the boards: query, key and value; attention's output; gate and
up; down. Multi-head latent attention has two more: it compresses queries, keys and values, and expands them again. The
feed-forward width follows from the parameters beside attention, in a mixture of experts from those of the shared
expert. The output matrix multiplies at most `LOGITS` tokens of an iteration, as only the last token of a sequence needs
logits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tokenfleet.envs.layers.gpu import GpuSpec
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.part import Float64Array, Part, together

LOGITS = 256.0
ACTIVATION_BYTES = 2.0


class Matrix(NamedTuple):
    """Weights [rows, columns] of one board; an iteration multiplies with `times` matrices of this shape."""

    rows: float
    columns: float
    times: int


def layer_matrices(model: ModelSpec, tensor_parallel: int) -> list[Matrix]:
    """The matrices of every layer, on one of the boards.

    >>> from tokenfleet.envs.layers.llm import load_model
    >>> [(round(m.rows), round(m.columns)) for m in layer_matrices(load_model("qwen3-32b"), 1)]
    [(10240, 5120), (5120, 8192), (51200, 5120), (5120, 25600)]
    """
    width, layers = model.width, model.layers
    attention = sum(matrix.rows * matrix.columns for matrix in attention_matrices(model, 1))
    everywhere = model.common_parameters - model.vocabulary * width
    feed_forward = max(0.0, everywhere / layers - attention) / (3.0 * width)
    mine = feed_forward / tensor_parallel
    dense = [Matrix(2.0 * mine, width, layers), Matrix(width, mine, layers)]
    return attention_matrices(model, tensor_parallel) + (dense if feed_forward else [])


def attention_matrices(model: ModelSpec, tensor_parallel: int) -> list[Matrix]:
    """Of attention on one of the boards; what compresses queries, keys and values is not split.

    >>> from tokenfleet.envs.layers.llm import load_model
    >>> [(round(m.rows), round(m.columns)) for m in attention_matrices(load_model("deepseek-v3"), 8)]
    [(2112, 7168), (3072, 1536), (4096, 512), (7168, 2048)]
    """
    heads, width, layers = model.attention_heads / tensor_parallel, model.width, model.layers
    values = heads * (model.value_head_dim or model.head_dim)
    queries = heads * model.head_dim
    if model.latent_values is None or model.latent_query_values is None:
        keys = model.kv_heads * model.head_dim / tensor_parallel
        return [Matrix(queries + 2.0 * keys, width, layers), Matrix(width, values, layers)]
    cached = float(model.kv_values_per_head or model.latent_values)
    rotary = cached - model.latent_values
    expanded = queries - heads * rotary + values  # keys without their rotary part, and values
    return [
        Matrix(model.latent_query_values + cached, width, layers),
        Matrix(queries, model.latent_query_values, layers),
        Matrix(expanded, model.latent_values, layers),
        Matrix(width, values, layers),
    ]


def products_part(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, tokens: Float64Array) -> Part:
    """All products but those with routed experts."""
    matrices = [(matrix, tokens) for matrix in layer_matrices(model, tensor_parallel)]
    output = Matrix(model.vocabulary / tensor_parallel, model.width, 1)
    matrices += [(output, np.minimum(tokens, LOGITS))] if model.vocabulary else []
    parts = [matrix_part(gpu, model, matrix, rows) for matrix, rows in matrices]
    return together(parts)


def elementwise_part(gpu: GpuSpec, model: ModelSpec, tensor_parallel: int, tokens: Float64Array) -> Part:
    """Norms, residuals, activation, rotary embedding: their bytes."""
    attention, *_ = attention_matrices(model, tensor_parallel)
    others = layer_matrices(model, tensor_parallel)[len(attention_matrices(model, 1)) :]
    feed_forward = others[1].columns if others else 0.0
    values = 8.0 * model.width + 3.0 * feed_forward + 2.0 * attention.rows
    moved_bytes = ACTIVATION_BYTES * values * model.layers * tokens
    time_s = moved_bytes / (gpu.kernels.elementwise_efficiency * gpu.memory_bandwidth_bytes_per_s)
    return Part(time_s, np.ones_like(time_s))


def matrix_part(gpu: GpuSpec, model: ModelSpec, matrix: Matrix, tokens: Float64Array) -> Part:
    """Products with `matrix.times` matrices of one shape."""
    weights, products = matrix.rows * matrix.columns, gpu.products(model.arithmetic)
    moved_bytes = weights * model.bytes_per_parameter + ACTIVATION_BYTES * tokens * (matrix.rows + matrix.columns)
    work = (
        moved_bytes / gpu.memory_bandwidth_bytes_per_s,
        2.0 * weights * tokens / gpu.peak_flops(model.arithmetic),
        tokens * matrix.columns / gpu.memory_bandwidth_bytes_per_s,
    )
    return Part(matrix.times * products.time_s(*work), products.memory_share(*work))
