"""transformers in a worker: ``theirs.py CHECKPOINT DTYPE THREADS``, run by a Python that has torch and transformers.

It knows nothing of dsv4c, which that Python need not have.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from worker import serve

WARM = 3


class Model:
    """A loaded checkpoint, and for each context a cache that goes on from turn to turn."""

    def __init__(self, folder: str, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.draw = torch.Generator().manual_seed(0)
        self.caches: dict[int, Any] = {}

    def tokens(self, count: int) -> torch.Tensor:
        """Random tokens of one sequence."""
        return torch.randint(0, self.model.config.vocab_size, (1, count), generator=self.draw)

    @torch.inference_mode()
    def step(self, count: int, cache: Any) -> float:
        """Seconds for ``count`` random tokens with the logits of the last one."""
        tokens = self.tokens(count)
        start = perf_counter()
        self.model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return perf_counter() - start

    def decode(self, context: int, steps: int, experts: str) -> float:
        """Milliseconds a token after ``context`` tokens or a few turns more."""
        self.model.set_experts_implementation(experts)
        if context not in self.caches:
            self.caches[context] = DynamicCache(config=self.model.config)
            self.step(context, self.caches[context])
        times = [self.step(1, self.caches[context]) for _ in range(WARM + steps)]
        return 1e3 * sum(times[WARM:]) / steps

    def prefill(self, length: int, experts: str) -> float:
        """Seconds for a prompt from nothing."""
        self.model.set_experts_implementation(experts)
        return self.step(length, DynamicCache(config=self.model.config))


if __name__ == "__main__":
    model = Model(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    serve({"decode": model.decode, "prefill": model.prefill})
