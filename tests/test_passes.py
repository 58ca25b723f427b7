"""The pipeline on whole tiny models: every pass keeps the numbers, and fuses what it is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsv4c.driver.compile import open_model
from dsv4c.frontend.loading import add_load_functions, stream_weights
from dsv4c.frontend.presets import load_preset
from dsv4c.ir.core import Module
from dsv4c.ir.interp import run, tree, zeros
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.types import leaves
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.passes.absorb_mla import AbsorbMla
from dsv4c.passes.base import Log, Pass
from dsv4c.passes.canonicalize import Canonicalize
from dsv4c.passes.fuse_hyper_connections import FuseHyperConnections
from dsv4c.passes.fuse_kernels import FuseKernels
from dsv4c.passes.fuse_mla_projections import FuseMlaProjections
from dsv4c.passes.inline import Inline
from dsv4c.passes.partition_experts import PartitionExperts
from dsv4c.passes.rewrite_sparse_attention import RewriteSparseAttention, quadratic
from dsv4c.passes.specialize import Specialize

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    "v4": "examples/tiny-v4", "v32": "tests/data/tiny-v32", "v3": "tests/data/tiny-v3",
    "v4-odd": "tests/data/tiny-v4-odd", "v32-odd": "tests/data/tiny-v32-odd", "v3-odd": "tests/data/tiny-v3-odd",
}  # fmt: skip
PIPELINE: tuple[Pass, ...] = (
    Canonicalize(), FuseKernels(), RewriteSparseAttention(), FuseHyperConnections(), Specialize(), AbsorbMla(),
    FuseMlaProjections(), Inline(),
)  # fmt: skip
# Sums of joined or absorbed products run in another order; the logits are of order 1 and 2e-6 is what is seen.
CLOSE = 1e-5
NEW, ROOM = (20, 13, 1), 48  # prompts of different lengths, one of them padded to nearly nothing; capacity


@cache
def model(name: str) -> tuple[Module, Any]:
    """The module of a tiny checkpoint in fp32 and its weights."""
    opened = open_model(str(ROOT / MODELS[name]))
    assert opened.checkpoint is not None and opened.sources is not None
    module = build_module(opened.config, "f32")
    calls = add_load_functions(module, opened.config, opened.sources, "f32")
    weights = module.functions["step"].params[3].type
    wanted = [(path, "") for path, _ in leaves(weights)]
    stream = stream_weights(module, opened.checkpoint, opened.config, calls, wanted, lambda path, form: None)
    return module, tree(weights, {path: array for path, _, array in stream})


@cache
def stages(name: str) -> dict[str, tuple[Module, Log]]:
    """The module after each pass of the pipeline."""
    module, out = model(name)[0], {}
    for step in PIPELINE:
        log = Log()
        module = step.run(module, log)
        verify(module)
        out[step.name] = (module, log)
    return out


def answers(module: Module, name: str) -> Iterator[np.ndarray]:
    """Logits of a padded prefill and of six decoded tokens, through the entries that the module has."""
    prefill, decode = ("prefill", "decode") if "decode" in module.functions else ("step", "step")
    weights = model(name)[1]
    rng, batch = np.random.default_rng(5), len(NEW)
    state = zeros(module.functions[prefill].params[4].type, {"B": batch, "T": ROOM})
    tokens, past = rng.integers(0, 128, (batch, max(NEW))).astype(np.int32), np.zeros(batch, np.int32)
    new = np.array(NEW)
    for count in range(7):
        entry = decode if count else prefill
        dims = {"B": batch, "S": tokens.shape[1], "T": ROOM}
        logits, state = run(module, entry, [tokens, past, new.astype(np.int32), weights, state], dims)
        yield logits
        past = (past + new).astype(np.int32)
        tokens, new = rng.integers(0, 128, (batch, 1)).astype(np.int32), np.ones(batch)


@pytest.mark.parametrize("name", MODELS)
def test_every_pass_keeps_the_logits(name: str) -> None:
    want = list(answers(model(name)[0], name))
    for step in PIPELINE:
        module, _ = stages(name)[step.name]
        for a, b in zip(answers(module, name), want, strict=True):
            assert np.abs(a - b).max() <= CLOSE, step.name


@pytest.mark.parametrize("name", MODELS)
def test_passes_but_those_that_reorder_sums_change_no_bit(name: str) -> None:
    want = list(answers(model(name)[0], name))
    module, _ = stages(name)["specialize"]
    assert all(np.array_equal(a, b) for a, b in zip(answers(module, name), want, strict=True))


def ops(module: Module, function: str) -> Counter[str]:
    return Counter(op.name for op in module.functions[function].ops)


@pytest.mark.parametrize("preset", ["deepseek-v4-pro", "deepseek-v4-flash", "deepseek-v3.2", "deepseek-v3"])
def test_released_models_are_fused_whole(preset: str) -> None:
    module = build_module(load_preset(preset), "bf16")
    for step in PIPELINE:
        module = step.run(module, Log())
    verify(module)
    left = Counter(op.name for f in module.functions.values() if f.kind == "block" for op in f.ops)
    assert not {"exp", "topk", "scatter", "ragged_matmul", "rsqrt", "sum", "max", "cos"} & set(left)
    assert preset == "deepseek-v3" or not list(quadratic(module))


def test_csa_reads_like_its_equations() -> None:
    module, _ = stages("v4")["fuse-mla-projections"]
    found = ops(module, "attention_csa_decode")
    want = {
        "matmul": 3, "grouped_linear": 1, "rms_norm": 1, "norm_rope": 2, "rope": 2, "compress_kv": 2,
        "lightning_indexer": 1, "sparse_attention": 1,
    }  # fmt: skip
    assert {name: found[name] for name in want} == want


def test_absorbing_waits_for_specialize_and_says_its_choice() -> None:
    fused, _ = stages("v3")["rewrite-sparse-attention"]
    log = Log()
    assert to_text(AbsorbMla().run(fused, log)) == to_text(fused)
    assert "specialize comes first" in log.refusals[0].why
    module, log = stages("v3")["absorb-mla"]
    assert ops(module, "attention_decode")["mla_absorbed"] == 1 and ops(module, "attention")["mla_attention"] == 1
    assert "MFLOP naive" in log.notes[0]


@pytest.mark.parametrize("name", MODELS)
def test_every_stage_prints_and_parses(name: str) -> None:
    for module, _ in stages(name).values():
        text = to_text(module)
        assert to_text(parse(text)) == text


@pytest.mark.parametrize("name", MODELS)
def test_canonicalize_is_idempotent(name: str) -> None:
    for module, _ in stages(name).values():
        once = to_text(Canonicalize().run(module, Log()))
        assert to_text(Canonicalize().run(parse(once), Log())) == once


def test_partitioning_takes_the_tokens_of_a_fused_module() -> None:
    # fuse-kernels reads `live` where it is made, as [B, S]: a requirement B * S == B would refuse every other chunk.
    fused, _ = stages("v4")["fuse-kernels"]
    placing = PartitionExperts(ranks=2).run(fused, Log()).functions["place_pairs"]
    assert not placing.requires and [p.tensor.rank for p in placing.params] == [2, 1]
