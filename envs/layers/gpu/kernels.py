"""Layer 3, kernels: how much of its peaks a board's software reaches.

A product of matrices, [n, k] weights with [k, m] activations, takes

    time = launch + ((bytes / (memory_efficiency bandwidth))^p + (flops / (compute_efficiency peak))^p)^(1/p)
           + quantise_bytes m k / bandwidth

Every number is data of a board, fitted to timed kernels (`calibration/fit/time/products.py`); the defaults are the
medians of six timed boards, for boards that nobody timed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tokenfleet.envs.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, Spec

Float64Array = NDArray[np.float64]


class ProductSpec(Spec):
    """Products of matrices in one precision.

    Attributes:
        memory_efficiency: share of peak bandwidth at which operands are read.
        compute_efficiency: share of the peak rate of arithmetic.
        launch_s: start of one product, whatever its size; in fp8, of the kernel that makes activations fp8 too [s].
        join_power: p, how sharply a product turns from bound by memory to bound by arithmetic.
        quantise_bytes: time of making an activation fp8, in bytes at peak bandwidth; small kernels move 3 bytes for it.
    """

    memory_efficiency: PositiveFraction
    compute_efficiency: PositiveFraction
    launch_s: NonNegativeFloat
    join_power: PositiveFloat
    quantise_bytes: NonNegativeFloat = 0.0

    def time_s(self, memory_s: Float64Array, compute_s: Float64Array, activation_s: Float64Array) -> Float64Array:
        """Time of products, `[...]` [s].

        Args:
            memory_s: their bytes over peak bandwidth [s].
            compute_s: their FLOPs over peak rate [s].
            activation_s: number of their activations, m k, over peak bandwidth [s]: the time of a byte for each.

        >>> products = ProductSpec(memory_efficiency=0.5, compute_efficiency=0.5, launch_s=0.0, join_power=4.0)
        >>> round(float(products.time_s(np.array(1.5), np.array(1.5), np.array(1.0))), 3)
        3.568
        """
        memory, compute = self._parts(memory_s, compute_s)
        return np.asarray(self._always_s(activation_s) + (memory + compute) ** (1.0 / self.join_power))

    def memory_share(self, memory_s: Float64Array, compute_s: Float64Array, activation_s: Float64Array) -> Float64Array:
        """Share of that time that no clock of the core changes, `[...]`: memory, launches, small kernels.

        >>> products = ProductSpec(memory_efficiency=0.5, compute_efficiency=0.5, launch_s=0.0, join_power=4.0)
        >>> float(products.memory_share(np.array(1.5), np.array(1.5), np.array(1.0)))
        0.5
        """
        memory, compute = self._parts(memory_s, compute_s)
        always_s, joined_s = self._always_s(activation_s), (memory + compute) ** (1.0 / self.join_power)
        return np.asarray((always_s + joined_s * memory / (memory + compute)) / (always_s + joined_s))

    def _always_s(self, activation_s: Float64Array) -> Float64Array:
        return np.asarray(self.launch_s + self.quantise_bytes * activation_s)

    def _parts(self, memory_s: Float64Array, compute_s: Float64Array) -> tuple[Float64Array, Float64Array]:
        p = self.join_power
        return (memory_s / self.memory_efficiency) ** p, (compute_s / self.compute_efficiency) ** p


class KernelSpec(Spec):
    """What kernels reach on a board.

    Attributes:
        bf16: products in bf16.
        fp8: products in fp8, activations made fp8 token by token.
        elementwise_efficiency: share of peak bandwidth that norms, activations and rotary embeddings reach; above one
            where a cache holds most of the bytes passed on.
        context_ratio: time of decode attention over its bytes at peak bandwidth.
        mixed_context_ratio: addition to `context_ratio` where a kernel serves prompts and decoding sequences in one
            call.
        prefill_attention_ratio: time of prefill attention over its FLOPs at peak rate, prompts of 4096 tokens and more.
        latent_launch_s: what the kernels of one layer of multi-head latent attention take to start, beside its products
            [s].
    """

    bf16: ProductSpec = ProductSpec(memory_efficiency=0.82, compute_efficiency=0.8, launch_s=3.6e-6, join_power=3.53)
    fp8: ProductSpec = ProductSpec(
        memory_efficiency=0.794, compute_efficiency=0.773, launch_s=6.3e-6, join_power=2.29, quantise_bytes=12.0
    )
    elementwise_efficiency: PositiveFloat = 0.54
    context_ratio: PositiveFloat = Field(default=1.25, ge=1.0)
    mixed_context_ratio: NonNegativeFloat = 0.0
    prefill_attention_ratio: PositiveFloat = Field(default=1.85, ge=1.0)
    latent_launch_s: NonNegativeFloat = 7.2e-5
