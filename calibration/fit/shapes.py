"""Published shapes of the models whose serving runs were measured, and what an iteration of them moves and computes.

Every figure is from the model's config.json. Weights of a feed-forward layer are three matrices (gate, up, down) unless
`matrices` says two; the input embedding is not multiplied with and does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenfleet.envs.fitting.errors import Array
from tokenfleet.envs.layers.llm import ModelSpec


@dataclass(frozen=True)
class Shape:
    """One model.

    Attributes:
        family: models that share it count as one when a model is left out of a fit.
        layers: how many.
        width: hidden size.
        heads: query heads.
        kv_heads: key and value heads.
        head_dim: their size.
        feed_forward: width of the dense feed-forward layer, or of the shared expert; 0 where all is routed.
        vocabulary: rows of the output matrix.
        matrices: of a dense feed-forward layer.
        experts: routed experts of a layer, 0 for a dense model.
        routed: experts that a token goes through.
        expert_width: width of one expert.
        bytes_per_weight: of attention and dense layers.
        bytes_per_expert_weight: of routed experts.
        window_layers: share of layers whose attention sees at most `window` tokens.
        window: tokens.
    """

    family: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    matrices: int = 3
    experts: int = 0
    routed: int = 0
    expert_width: int = 0
    bytes_per_weight: float = 2.0
    bytes_per_expert_weight: float = 2.0
    window_layers: float = 0.0
    window: int = 0

    @property
    def common_weights(self) -> float:
        """Weights that every token is multiplied with."""
        attention = 2 * self.width * self.head_dim * (self.heads + self.kv_heads)
        dense = self.matrices * self.width * self.feed_forward
        return float(self.layers * (attention + dense) + self.vocabulary * self.width)

    def spec(self) -> ModelSpec:
        """The model as the catalogue would have it; what times do not read of it is left at one."""
        embedding, experts = float(self.vocabulary * self.width), self.experts * self.expert_weights
        return ModelSpec(
            name=self.family,
            parameters=self.common_weights + embedding + experts,
            active_parameters=self.common_weights + self.routed * self.expert_weights,
            experts=self.experts or 1,
            experts_per_token=self.routed or 1,
            expert_parameters=experts,
            layers=self.layers,
            hidden_dim=self.width,
            vocabulary=self.vocabulary,
            attention_heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            bytes_per_parameter=self.bytes_per_weight,
            bytes_per_expert_parameter=self.bytes_per_expert_weight,
            arithmetic="fp8" if self.bytes_per_weight == 1.0 else "bf16",
            wake_s=1.0,
            max_context_tokens=1,
        )

    @property
    def expert_weights(self) -> float:
        """Weights of one expert, over all layers."""
        return float(self.layers * 3 * self.width * self.expert_width)

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of one token at two bytes a value."""
        return float(4 * self.layers * self.kv_heads * self.head_dim)

    def touched_experts(self, tokens: Array) -> Array:
        """Experts of a layer that at least one of `tokens` goes through, if routing is even."""
        return self.experts * (1.0 - (1.0 - self.routed / max(self.experts, 1)) ** tokens)

    def attended(self, context: Array) -> Array:
        """Tokens that a layer attends to on average, of a context."""
        return (1.0 - self.window_layers) * context + self.window_layers * np.minimum(context, self.window)


def _qwen3_moe(
    layers: int, width: int, heads: int, experts: int, expert_width: int, family: str, bytes_per_weight: float = 2.0
) -> Shape:
    kv_heads = 8 if heads == 96 else 4
    return Shape(
        family, layers, width, heads, kv_heads, 128, 0, 151936, experts=experts, routed=8, expert_width=expert_width,
        bytes_per_weight=bytes_per_weight, bytes_per_expert_weight=bytes_per_weight,
    )  # fmt: skip


def _gpt_oss(layers: int, experts: int, family: str) -> Shape:
    """MXFP4 experts take 4.25 bits a weight."""
    return Shape(
        family, layers, 2880, 64, 8, 64, 0, 201088, experts=experts, routed=4, expert_width=2880,
        bytes_per_expert_weight=4.25 / 8, window_layers=0.5, window=128,
    )  # fmt: skip


_LLAMA_8B = Shape("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256)
_LLAMA_70B = Shape("llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256)
_QWEN_30B = _qwen3_moe(48, 2048, 32, 128, 768, "qwen3-30b-a3b")

DENSE = {
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "meta-llama/Llama-3.1-70B-Instruct": _LLAMA_70B,
    "meta-llama/Llama-3.1-405B-Instruct-FP8": Shape(
        "llama-3.1-405b", 126, 16384, 128, 8, 128, 53248, 128256, bytes_per_weight=1.0
    ),
    "Qwen/Qwen3-8B": Shape("qwen3-8b", 36, 4096, 32, 8, 128, 12288, 151936),
    "Qwen/Qwen3-14B": Shape("qwen3-14b", 40, 5120, 40, 8, 128, 17408, 151936),
    "Qwen/Qwen3-32B": Shape("qwen3-32b", 64, 5120, 64, 8, 128, 25600, 151936),
    "google/gemma-3-12b-it": Shape(
        "gemma-3-12b", 48, 3840, 16, 8, 256, 15360, 262208, window_layers=5 / 6, window=1024
    ),
    "meta-llama/Meta-Llama-3.1-8B-Instruct": _LLAMA_8B,
    "meta-llama/Meta-Llama-3.1-70B-Instruct": _LLAMA_70B,
    "google/gemma-2-2b-it": Shape("gemma-2-2b", 26, 2304, 8, 4, 256, 9216, 256000),
    "google/gemma-2-9b-it": Shape("gemma-2-9b", 42, 3584, 16, 8, 256, 14336, 256000),
    "mistralai/Mistral-7B-Instruct-v0.3": Shape("mistral-7b", 32, 4096, 32, 8, 128, 14336, 32768),
    "mistralai/Mistral-Nemo-Instruct-2407": Shape("mistral-nemo", 40, 5120, 32, 8, 128, 14336, 131072),
    "microsoft/Phi-3-mini-4k-instruct": Shape("phi-3-mini", 32, 3072, 32, 32, 96, 8192, 32064),
    "microsoft/Phi-3-small-8k-instruct": Shape("phi-3-small", 32, 4096, 32, 8, 128, 14336, 100352),
    "bigcode/starcoder2-3b": Shape("starcoder2-3b", 30, 3072, 24, 2, 128, 12288, 49152, matrices=2),
    "bigcode/starcoder2-7b": Shape("starcoder2-7b", 32, 4608, 36, 4, 128, 18432, 49152, matrices=2),
    "bigcode/starcoder2-15b": Shape("starcoder2-15b", 40, 6144, 48, 4, 128, 24576, 49152, matrices=2),
    "codellama/CodeLlama-7b-hf": Shape("codellama-7b", 32, 4096, 32, 32, 128, 11008, 32016),
    "codellama/CodeLlama-13b-hf": Shape("codellama-13b", 40, 5120, 40, 40, 128, 13824, 32016),
    "codellama/CodeLlama-34b-hf": Shape("codellama-34b", 48, 8192, 64, 8, 128, 22016, 32000),
    "google/codegemma-1.1-2b": Shape("codegemma-2b", 18, 2048, 8, 1, 256, 16384, 256000),
    "google/codegemma-7b": Shape("codegemma-7b", 28, 3072, 16, 16, 256, 24576, 256000),
    "llama2-70b": Shape("llama-2-70b", 80, 8192, 64, 8, 128, 28672, 32000),
}
MIXTURES = {
    "Qwen/Qwen3-30B-A3B-Instruct-2507": _QWEN_30B,
    "Qwen/Qwen3-30B-A3B-Thinking-2507": _QWEN_30B,
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": _QWEN_30B,
    "Qwen/Qwen3-Coder-480B-A35B-Instruct": _qwen3_moe(62, 6144, 96, 160, 2560, "qwen3-coder-480b"),
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": _qwen3_moe(94, 4096, 64, 128, 1536, "qwen3-235b-a22b", 1.0),
    "openai/gpt-oss-20b": _gpt_oss(24, 32, "gpt-oss-20b"),
    "openai/gpt-oss-120b": _gpt_oss(36, 128, "gpt-oss-120b"),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": Shape(
        "llama-4-scout", 48, 5120, 40, 8, 128, 8192, 202048, experts=16, routed=1, expert_width=8192,
        window_layers=0.75, window=8192,
    ),
}  # fmt: skip
SHAPES = {**DENSE, **MIXTURES}


def family(model: str) -> str:
    """What a model of the catalogue is called among the families, which know no precision.

    >>> family("llama-3.1-405b-fp8")
    'llama-3.1-405b'
    """
    return model.removesuffix("-fp8")
