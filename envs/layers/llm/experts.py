"""Layer 4, routed experts: what the fused kernel of one layer takes on the busiest of a replica's boards.

A layer of E experts sends each of n tokens to k of them. Boards slice every expert (tensor parallelism) or share the
experts out (expert parallelism), and then all wait for the one whose experts are touched most. On it

    memory  = touched * weights * bytes_per_weight / (memory_ratio * bandwidth)
    compute = 2 * weights * (rows + tile_rows * touched) / (compute_ratio * rate)
    time    = launch_s + (memory^4 + compute^4)^(1/4)
              + activation_passes * rows * 2 * (2 * width + 3 * expert_width) / bandwidth

with the bandwidth and rate of matrix products on the board. `weights` are those of one expert's slice, `rows` its
(token, expert) pairs, and `touched` the experts with any row. An expert with few rows takes as long as one with a tile
of them. Experts in four bits cost as much where kernels unpack them, on any memory. `calibration/fit/time/experts.py`
fits one kernel a format to six boards. All of them compute much for each byte that they read; a board that computes
less, such as an H20, is taken to have kernels of tiles as much smaller (assumption), down to the 16 rows of a tensor
core.
"""

from __future__ import annotations

import statistics
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenfleet.envs.layers.gpu import GpuSpec, Precision
from tokenfleet.envs.layers.llm.model import ModelSpec
from tokenfleet.envs.layers.llm.parallelism import Parallelism
from tokenfleet.envs.layers.llm.part import Part, joined_part, together

Float64Array = NDArray[np.float64]
ExpertFormat = Literal["bf16", "fp8", "unpacked", "packed"]
ACTIVATION_BYTES = 2.0
MATRICES = 3  # of an expert: gate, up, down


class ExpertKernel(NamedTuple):
    """How near a fused kernel of experts comes to a product of matrices, and what it takes besides.

    Attributes:
        launch_s: its kernels' start, whatever they compute [s].
        memory_ratio: bandwidth of reading weights, over that of a product.
        compute_ratio: rate of its arithmetic over that of a product.
        tile_rows: rows of padding that an expert with any row computes beside its own.
        activation_passes: how often the rows of activations pass through memory.
    """

    launch_s: float
    memory_ratio: float
    compute_ratio: float
    tile_rows: float
    activation_passes: float


KERNELS: dict[ExpertFormat, ExpertKernel] = {
    "bf16": ExpertKernel(2.82e-05, 1.06, 0.5836, 89.27, 1.159),
    "fp8": ExpertKernel(3.699e-05, 1.181, 0.4087, 80.85, 1.658),
    "unpacked": ExpertKernel(5.066e-05, 1.2, 0.6986, 44.92, 0.8622),
    "packed": ExpertKernel(2.957e-05, 1.084, 0.4497, 35.46, 4.438),
}
"""Fitted to six boards (`calibration/fit/time/experts.py`); a test holds them to it."""


LEAST_TIMED_FLOPS_PER_BYTE: dict[Precision, float] = {"bf16": 153.0, "fp8": 412.0}
"""Peak arithmetic over peak bandwidth of the board with the least of it among the six: A100 80 GB, H200."""
LEAST_TILE_ROWS = 16.0


class ExpertShape(NamedTuple):
    """Experts of one layer as boards hold them.

    Attributes:
        width: of the residual stream.
        expert_width: of the slice of an expert that a board holds.
        bytes_per_weight: of a weight in memory.
    """

    width: float
    expert_width: float
    bytes_per_weight: float

    @property
    def weights(self) -> float:
        """Weights of the slice."""
        return MATRICES * self.width * self.expert_width


class BusiestBoard(NamedTuple):
    """What the busiest board has of some batches: experts touched and (token, expert) pairs, `[...]` each."""

    touched: Float64Array
    rows: Float64Array


class Rates(NamedTuple):
    """What products of matrices reach on a board: bytes/s and FLOP/s, floats or `[...]`."""

    bytes_per_s: Any
    flops: Any


class KernelTimes(NamedTuple):
    """Parts of a fused kernel's time, `[...]` each but `fixed_s` [s].

    Attributes:
        fixed_s: whatever it computes.
        memory_s: reading weights, if nothing else took time.
        compute_s: products, if nothing else took time.
        activation_s: reading and writing rows.
    """

    fixed_s: float
    memory_s: Float64Array
    compute_s: Float64Array
    activation_s: Float64Array


def experts_part(gpu: GpuSpec, model: ModelSpec, parallelism: Parallelism, tokens: Float64Array) -> Part:
    """Routed experts of all layers; nothing in a dense model.

    Args:
        gpu: the board.
        model: the model.
        parallelism: how the boards of a replica share it.
        tokens: of an iteration, over all boards, `[J]`.

    >>> from tokenfleet.envs.layers import gpu, llm
    >>> pair = gpu.load_gpu("h100-sxm"), llm.load_model("qwen3-30b-a3b")
    >>> (1e3 * experts_part(*pair, Parallelism(), np.array([1.0, 64.0])).time_s).round(1).tolist()
    [2.6, 19.6]
    """
    if model.experts == 1:
        return Part(np.zeros_like(tokens), np.ones_like(tokens))
    shape = ExpertShape(
        width=model.width,
        expert_width=model.expert_width / (parallelism.boards / parallelism.expert),
        bytes_per_weight=model.expert_bytes_per_weight,
    )
    times = kernel_times(
        board_kernel(gpu, expert_format(gpu, model)),
        shape,
        busiest_board(model, parallelism.expert, tokens),
        product_rates(gpu, expert_format(gpu, model)),
    )
    layer = together(
        [
            joined_part(times.memory_s, times.compute_s),
            Part(times.fixed_s + times.activation_s, np.ones_like(tokens)),
        ]
    )
    return Part(model.routed_layers * layer.time_s, layer.memory_share)


def board_kernel(gpu: GpuSpec, weights: ExpertFormat) -> ExpertKernel:
    """The kernel of a format on a board, whose tiles are smaller where arithmetic is dear beside reading.

    >>> from tokenfleet.envs.layers.gpu import load_gpu
    >>> h200 = load_gpu("h200-sxm")
    >>> h20 = h200.model_copy(update={"peak_bf16_flops": h200.peak_bf16_flops / 6.7})
    >>> [round(board_kernel(gpu, "bf16").tile_rows, 1) for gpu in (h200, h20)]
    [89.3, 18.0]
    """
    kernel, precision = KERNELS[weights], _arithmetic(gpu, weights)
    flops_per_byte = gpu.peak_flops(precision) / gpu.memory_bandwidth_bytes_per_s
    share = min(1.0, flops_per_byte / LEAST_TIMED_FLOPS_PER_BYTE[precision])
    return kernel._replace(tile_rows=max(share * kernel.tile_rows, min(LEAST_TILE_ROWS, kernel.tile_rows)))


def kernel_times(kernel: ExpertKernel, shape: ExpertShape, busiest: BusiestBoard, rates: Rates) -> KernelTimes:
    """The parts of the module's law for one layer [s]."""
    memory_s = busiest.touched * shape.weights * shape.bytes_per_weight / rates.bytes_per_s
    padded_rows = busiest.rows + kernel.tile_rows * busiest.touched
    row_bytes = ACTIVATION_BYTES * (2.0 * shape.width + MATRICES * shape.expert_width)
    return KernelTimes(
        fixed_s=kernel.launch_s,
        memory_s=memory_s / kernel.memory_ratio,
        compute_s=2.0 * shape.weights * padded_rows / (kernel.compute_ratio * rates.flops),
        activation_s=kernel.activation_passes * busiest.rows * row_bytes / rates.bytes_per_s,
    )


def product_rates(gpu: GpuSpec, weights: ExpertFormat) -> Rates:
    """What products in the arithmetic of a format reach; products with experts in four bits are in bf16."""
    precision = _arithmetic(gpu, weights)
    products = gpu.products(precision)
    return Rates(
        products.memory_efficiency * gpu.memory_bandwidth_bytes_per_s,
        products.compute_efficiency * gpu.peak_flops(precision),
    )


def _arithmetic(gpu: GpuSpec, weights: ExpertFormat) -> Precision:
    """Precision of the units that a format's products run on."""
    return "fp8" if weights == "fp8" and gpu.peak_fp8_flops else "bf16"


def busiest_board(model: ModelSpec, sharing: int, tokens: Float64Array) -> BusiestBoard:
    """Expected experts touched and pairs computed on the busiest of `sharing` boards that share experts out.

    Tokens choose independently of each other, the i-th most popular expert with a chance in proportion to
    `i^-routing_skew`; popular experts stand on any board. Expectations of the largest of several boards are those of
    normal variables of the same mean and variance.

    >>> from tokenfleet.envs.layers import llm
    >>> found = busiest_board(llm.load_model("qwen3-30b-a3b"), 1, np.array([1.0, 16.0, 512.0]))
    >>> found.touched.round(1).tolist(), found.rows.tolist()
    ([8.0, 71.3, 128.0], [8.0, 128.0, 4096.0])
    """
    held, pairs = model.experts / sharing, model.experts_per_token * tokens
    chances = expert_chances(model.experts, model.experts_per_token, model.routing_skew)
    idle = (1.0 - chances) ** np.asarray(tokens)[..., None]
    touched, touched_variance = held * (1.0 - idle).mean(axis=-1), held * (idle * (1.0 - idle)).mean(axis=-1)
    rows = pairs / sharing
    uneven = held * (1.0 - 1.0 / sharing) * (chances.std() * tokens) ** 2
    rows_variance = rows * (1.0 - 1.0 / sharing) + uneven
    excess = largest_of_normals(sharing)
    most_touched = np.minimum(touched + excess * np.sqrt(touched_variance), np.minimum(held, pairs))
    most_rows = np.minimum(rows + excess * np.sqrt(rows_variance), pairs)
    return BusiestBoard(np.asarray(np.maximum(most_touched, touched)), np.asarray(most_rows))


def expert_chances(experts: int, routed: int, skew: float) -> Float64Array:
    """Chance that a token goes to each expert, the most popular first, `[E]`; they sum to `routed`.

    >>> expert_chances(4, 2, 0.0).tolist(), expert_chances(4, 1, 1.0).round(2).tolist()
    ([0.5, 0.5, 0.5, 0.5], [0.48, 0.24, 0.16, 0.12])
    """
    shares = np.arange(1.0, experts + 1.0) ** -skew
    chances = routed * shares / shares.sum()
    while (chances > 1.0).any():  # an expert takes a token once; what it cannot take goes to the others
        free = chances < 1.0
        rest = routed - float((~free).sum())
        chances = np.where(free, shares * rest / shares[free].sum(), 1.0)
    return np.asarray(chances)


def largest_of_normals(count: int) -> float:
    """Mean of the largest of some standard normal variables (G. Blom's approximation).

    >>> [round(largest_of_normals(count), 2) for count in (1, 2, 8)]
    [0.0, 0.6, 1.42]
    """
    return statistics.NormalDist().inv_cdf(0.5264 ** (1.0 / count)) if count > 1 else 0.0


def expert_format(gpu: GpuSpec, model: ModelSpec) -> ExpertFormat:
    """Which kernel serves a model's experts on a board: four bits stay packed where the board multiplies them so."""
    if model.has_packed_experts:
        return "packed" if gpu.peak_fp4_flops else "unpacked"
    return "fp8" if model.arithmetic == "fp8" else "bf16"
