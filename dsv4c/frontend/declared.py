"""What a config alone says of how a released checkpoint stores its weights (architectures.md §9), without the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dsv4c.models.config import Config, V4Config
from dsv4c.models.weights import weight_leaves

from .fields import Fields
from .names import MXFP4_BLOCK, Source, given_block
from .spellings import spellings

# §9.1: what stays as it is, by our own paths.
WHOLE = re.compile(r"embed|head|norm|router|compressor|hc|sinks|bias|table")


def declared_sources(config: Config, raw: Mapping[str, Any], where: str) -> dict[str, Source]:
    """The sources of quantised weights as the released checkpoints have them: FP8 in blocks, experts in MXFP4 where
    ``expert_dtype`` says fp4; nothing where the config states no block. UserError as for a checkpoint.
    """
    fields = Fields(raw, where)
    block = given_block(fields)
    if block is None:
        return {}
    v4, fp4 = isinstance(config, V4Config), raw.get("expert_dtype") == "fp4"
    out = {}
    for path, leaf in weight_leaves(config).items():
        if WHOLE.search(path) or leaf.role != "compute":
            continue
        known = spellings(config, path)[::-1]
        name = next((s for s in known if "{e}" in s), known[0])  # released experts are tensors of their own
        scale = name.removesuffix("weight") + ("scale" if v4 else "weight_scale_inv")
        form, kind = "stack" if "{e}" in name else "plain", "F8_E8M0" if v4 else "F32"
        if fp4 and form == "stack":
            out[path] = Source(path, name, form, "I8", scale, "mxfp4", MXFP4_BLOCK, "F8_E8M0")
        else:
            out[path] = Source(path, name, form, "F8_E4M3", scale, "fp8_block", block, kind)
    return out
