"""Configs as transformers reads and writes them. Needs the parity extra."""

from __future__ import annotations

import json

import pytest
import transformers
from test_config import LEGACY_V4, V3, V4, V32, parse


@pytest.mark.parametrize("base", [V4, LEGACY_V4, LEGACY_V4 | {"rope_scaling": None}, V3, V32])
def test_transformers_reads_the_same(base):
    """Whatever transformers makes of a config and writes again means the same model to us."""
    standard = base | ({"compress_ratios": [0, 4, 128, 4, 0, 0]} if "compress_ratios" in base else {})
    standard = {k: v for k, v in standard.items() if not k.startswith("compress_rate_")}
    stem = {"deepseek_v3": "DeepseekV3", "deepseek_v32": "DeepseekV32", "deepseek_v4": "DeepseekV4"}
    written = getattr(transformers, f"{stem[base['model_type']]}Config")(**json.loads(json.dumps(standard)))
    assert parse(written.to_dict()) == parse(standard)
