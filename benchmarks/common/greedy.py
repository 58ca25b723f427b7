"""transformers' greedy continuation: ``greedy.py CHECKPOINT LENGTH NEW OUT.npz``, run by DSV4C_PEER_PYTHON.

Writes the prompt, the new tokens and the logits of every position fed; fails if the checkpoint does not fit.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

folder, length, new, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
wrong = {what: sorted(names) for what, names in loading.items() if names}
if wrong:
    raise SystemExit(f"{folder}: {wrong}")
prompt = torch.randint(0, model.config.vocab_size, (1, length), generator=torch.Generator().manual_seed(1))
cache, feed, tokens, logits = DynamicCache(config=model.config), prompt, [], []
with torch.inference_mode():
    for _ in range(new):
        logits.append(model.eval()(feed, past_key_values=cache, use_cache=True).logits[0].float())
        feed = logits[-1][-1:].argmax(dim=-1)[None]
        tokens.append(int(feed))
np.savez(out, prompt=prompt[0].numpy(), new=np.array(tokens), logits=torch.cat(logits).numpy())
