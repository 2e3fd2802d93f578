"""Layer 4, models: the shape of a language model, as the hardware sees it.

A dense model reads all its weights in every iteration. A mixture of experts reads the experts that its tokens are
routed to. A layer has E experts, and a token takes k of them. If routing is even and independent, n tokens touch E (1 -
(1 - k/E)^n) experts in expectation. Real routing is a little more concentrated.

References:
    A. Grattafiori et al., "The Llama 3 Herd of Models", 2024, arXiv:2407.21783.
    DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, arXiv:2412.19437 (multi-head latent attention).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from tokenfleet.envs.catalog import PathLike, load_entry
from tokenfleet.envs.layers.gpu import Number, Precision
from tokenfleet.envs.layers.llm.attention import prefill_pairs, window_pairs
from tokenfleet.envs.layers.llm.left_out import VOCABULARY, with_left_out
from tokenfleet.envs.spec import Name, NonNegativeFloat, PositiveFloat, PositiveInt, Spec, SpecError


class ModelSpec(Spec):
    """One language model, as the hardware sees it.

    Attributes:
        name: catalogue name; another precision of the same model is another entry.
        description: one sentence for people.
        parameters: all weights, in memory.
        active_parameters: weights that one token is multiplied with; without the input embedding (a lookup), and for a
            mixture of experts without the experts that a token skips. Left out, the input embedding is taken to be a
            matrix of its own; where it is the output layer too, state it.
        experts: routed experts of a layer; 1 for a dense model.
        experts_per_token: routed experts that a token takes; shared experts, which every token takes, are not counted.
        expert_parameters: weights of all routed experts of all layers; 0 for a dense model.
        expert_layers: layers that have routed experts; all of them by default.
        routing_skew: s, where tokens go to the i-th most popular expert of a layer in proportion to i^-s. At 0.6 served
            mixtures touch as many experts as their steps show (`calibration/fit/time/mixtures.py`); 0 is even.
        layers: transformer layers.
        full_attention_layers: layers that attend to the whole context; all of them by default.
        sliding_window: tokens of context that the other layers attend to, and keep in their KV cache.
        hidden_dim: width of the residual stream; heads times their dimension by default.
        vocabulary: number of different tokens.
        attention_heads: query heads per layer.
        kv_heads: key-value heads per layer; 1 for multi-head latent attention, whose cache all heads share.
        head_dim: dimension of a head's queries and keys.
        value_head_dim: dimension of a head's values, where it differs from `head_dim`.
        kv_values_per_head: numbers that the cache holds per token, layer and KV head; twice `head_dim` by default.
        latent_values: in multi-head latent attention, how many of `kv_values_per_head` serve as keys and as values.
        latent_query_values: width that queries are compressed to in multi-head latent attention.
        bytes_per_parameter: 2 for bf16.
        bytes_per_expert_parameter: of routed experts, where it differs.
        arithmetic: precision that products are computed in, `bf16` or `fp8`.
        kv_bytes_per_value: bytes of one number of the KV cache, 2 for bf16.
        wake_s: from asleep (no model loaded) to serving [s]; left out, by the bytes of the weights (assumption).
        max_context_tokens: longest context, prompt and output together [tokens].
        sources: where each number comes from, assumptions marked as such.
    """

    name: Name
    description: str = ""
    parameters: PositiveFloat
    active_parameters: PositiveFloat = Field(json_schema_extra={"left_out": "from the shape"})
    experts: PositiveInt = 1
    experts_per_token: PositiveInt = 1
    expert_parameters: NonNegativeFloat = 0.0
    expert_layers: PositiveInt | None = None
    routing_skew: NonNegativeFloat = 0.6
    layers: PositiveInt
    full_attention_layers: PositiveInt | None = None
    sliding_window: PositiveInt | None = None
    hidden_dim: PositiveInt | None = None
    vocabulary: PositiveInt = VOCABULARY
    attention_heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    value_head_dim: PositiveInt | None = None
    kv_values_per_head: PositiveInt | None = None
    latent_values: PositiveInt | None = None
    latent_query_values: PositiveInt | None = None
    bytes_per_parameter: PositiveFloat = 2.0
    bytes_per_expert_parameter: PositiveFloat | None = None
    arithmetic: Precision = "bf16"
    kv_bytes_per_value: PositiveFloat = 2.0
    wake_s: PositiveFloat = Field(json_schema_extra={"left_out": "from the bytes"})
    max_context_tokens: PositiveInt
    sources: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return with_left_out(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        problems = []
        if self.active_parameters > self.parameters:
            problems.append(f"active_parameters must not exceed parameters (got {self.active_parameters:g})")
        if self.experts_per_token > self.experts:
            problems.append(f"experts_per_token must not exceed experts, {self.experts} (got {self.experts_per_token})")
        if self._active_expert_parameters > self.active_parameters:
            problems.append(f"expert_parameters: a token's share exceeds active_parameters, {self.active_parameters:g}")
        if self.attention_heads % self.kv_heads:
            problems.append(f"kv_heads must divide attention_heads, {self.attention_heads} (got {self.kv_heads})")
        if self.full_attention_layers is not None and self.full_attention_layers > self.layers:
            problems.append(f"full_attention_layers must not exceed layers, {self.layers}")
        elif (self._growing_layers < self.layers) != (self.sliding_window is not None):
            problems.append("sliding_window goes with full_attention_layers below layers; give both or neither")
        if problems:
            raise SpecError(problems)
        return self

    @property
    def width(self) -> int:
        """Of the residual stream, `hidden_dim` or what the heads make."""
        return self.hidden_dim or self.attention_heads * self.head_dim

    @property
    def routed_layers(self) -> int:
        """Layers with routed experts."""
        return self.expert_layers or self.layers

    @property
    def expert_width(self) -> float:
        """Width of one routed expert, which has three matrices.

        >>> round(load_model("qwen3-30b-a3b").expert_width)
        768
        """
        return self.expert_parameters / (3.0 * self.experts * self.routed_layers * self.width)

    @property
    def weight_bytes(self) -> float:
        """Memory that the weights take [bytes]."""
        return self.common_weight_bytes + self.expert_parameters * self.expert_bytes_per_weight

    @property
    def common_weight_bytes(self) -> float:
        """Of `weight_bytes`, all that is not routed."""
        return (self.parameters - self.expert_parameters) * self.bytes_per_parameter

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token of context in the layers that attend to all of it [bytes]."""
        values = self.kv_values_per_head or 2 * self.head_dim
        return float(self._growing_layers * self.kv_heads * values) * self.kv_bytes_per_value

    @property
    def window_kv_bytes_per_token(self) -> float:
        """KV cache of one token in the layers with a sliding window, as long as it is inside the window [bytes]."""
        return self.window_ratio * self.kv_bytes_per_token

    @property
    def activation_values_per_token(self) -> tuple[float, float]:
        """Numbers that a layer holds of a token at its peak: whole on every board, and split over the boards.

        The peak is in the feed-forward part. Whole are the residual stream, its normed copy and, in a mixture, the
        output of each of the token's experts. Split are the inner values of gate, up and their product.
        """
        width = float(self.width)
        if self.experts > 1:
            inner = self._active_expert_parameters / (self.routed_layers * width)
            return (2.0 + self.experts_per_token) * width, inner
        attention = width * (2 * self.attention_heads + 2 * self.kv_heads) * self.head_dim
        inner = ((self.active_parameters - self.vocabulary * width) / self.layers - attention) / width
        return 2.0 * width, max(inner, 0.0)

    @property
    def flops_per_token(self) -> float:
        """Arithmetic of one token outside attention [FLOP]."""
        return 2.0 * self.active_parameters

    @property
    def expert_flops_per_token(self) -> float:
        """Of `flops_per_token`, what the routed experts do [FLOP]."""
        return 2.0 * self._active_expert_parameters

    @property
    def attention_flops_per_pair(self) -> float:
        """Arithmetic of one (query, key) pair in the layers that attend to the whole context: QK^T and PV [FLOP]."""
        dims = self.head_dim + (self.value_head_dim or self.head_dim)
        return 2.0 * self._growing_layers * self.attention_heads * dims

    @property
    def window_ratio(self) -> float:
        """Layers with a sliding window for each that attends to the whole context; 0 where there is no window."""
        return self.layers / self._growing_layers - 1.0

    def attended_tokens(self, context_tokens: Number) -> Number:
        """Tokens that a sequence of so much context attends to, counted in layers without a window.

        >>> [float(load_model(name).attended_tokens(1000.0)) for name in ("gpt-oss-20b", "llama-3.1-8b")]
        [1128.0, 1000.0]
        """
        if self.sliding_window is None:
            return context_tokens
        windowed: Number = context_tokens + self.window_ratio * np.minimum(context_tokens, self.sliding_window)
        return windowed

    def attended_pairs(self, chunk_tokens: Number, prior_tokens: Number | float = 0.0) -> Number:
        """(query, key) pairs of a prefill chunk, counted in layers without a window."""
        pairs = prefill_pairs(chunk_tokens, prior_tokens)
        if self.sliding_window is None:
            return pairs
        windowed: Number = pairs + self.window_ratio * window_pairs(self.sliding_window, chunk_tokens, prior_tokens)
        return windowed

    def experts_touched(self, tokens: Number) -> Number:
        """Expected share of the routed experts that a batch of `tokens` tokens reads.

        >>> load_model("llama-3.1-8b").experts_touched(3.0)
        1.0
        """
        skipped: Number = (1.0 - self.experts_per_token / self.experts) ** tokens
        return 1.0 - skipped

    def weight_bytes_read(self, tokens: Number, groups: int = 1) -> Number:
        """Weights that an iteration of `tokens` tokens reads at the least [bytes]; exact for a dense model.

        Args:
            tokens: of the iteration.
            groups: of boards; each group reads everything but routed experts (data parallelism of attention).
        """
        return groups * self.common_parameters * self.bytes_per_parameter + self.expert_bytes_read(tokens)

    @property
    def common_parameters(self) -> float:
        """Weights that every token is multiplied with."""
        return self.active_parameters - self._active_expert_parameters

    def expert_bytes_read(self, tokens: Number) -> Number:
        """Of `weight_bytes_read`, those of routed experts [bytes]."""
        return self.expert_parameters * self.expert_bytes_per_weight * self.experts_touched(tokens)

    @property
    def has_packed_experts(self) -> bool:
        """Whether several weights of routed experts share a byte, so that kernels have to unpack them."""
        return self.expert_bytes_per_weight < 1.0

    def kv_copies(self, tensor_parallel: int) -> float:
        """How many times a replica holds a token's cache: more than once where GPUs outnumber KV heads."""
        return max(1.0, tensor_parallel / self.kv_heads)

    @property
    def _active_expert_parameters(self) -> float:
        """Weights of the routed experts that one token takes."""
        return self.expert_parameters * self.experts_per_token / self.experts

    @property
    def _growing_layers(self) -> int:
        return self.full_attention_layers or self.layers

    @property
    def expert_bytes_per_weight(self) -> float:
        """Bytes of a weight of a routed expert."""
        return self.bytes_per_expert_parameter or self.bytes_per_parameter


def load_model(name: str, search_paths: Sequence[PathLike] = ()) -> ModelSpec:
    """A model of the catalogue.

    Args:
        name: for example `llama-3.1-8b`.
        search_paths: the user's catalogue folders.

    Raises:
        SpecError: an unknown name or an invalid file.

    >>> load_model("llama-3.1-70b").kv_bytes_per_token
    327680.0
    """
    return ModelSpec.parse(load_entry("model", name, search_paths), f"model.{name}")
