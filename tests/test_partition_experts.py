"""partition-experts: all ranks together compute what the whole module computes, and refuse what cannot work."""

from __future__ import annotations

import importlib
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsv4c.driver.compile import open_model
from dsv4c.frontend.loading import add_load_functions, stream_weights
from dsv4c.frontend.presets import load_preset
from dsv4c.ir.builder import (
    Builder,
    broadcast_to,
    const,
    cumsum,
    gather,
    iota,
    matmul,
    reshape,
    scatter,
    total,
    transpose,
)
from dsv4c.ir.core import ACTIVE, IRError, Module
from dsv4c.ir.dims import evaluate, symbol
from dsv4c.ir.infer import infer
from dsv4c.ir.interp import flatten, run, tree, zeros
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.registry import REGISTRY, ShapeError
from dsv4c.ir.shares import run_shared, share
from dsv4c.ir.spmd import mesh_of, run_ranks
from dsv4c.ir.types import Bundle, TensorType, leaves
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.passes.base import Log
from dsv4c.passes.conservation import Conservation
from dsv4c.passes.find_experts import with_kernel_op
from dsv4c.passes.partition_experts import PartitionExperts
from dsv4c.passes.placement import Placement, place
from dsv4c.passes.spread import Partial, Split, SplitError, Spread
from dsv4c.passes.traffic import link_bytes
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.table import KernelTable

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "v4": ROOT / "examples/tiny-v4", "v32": ROOT / "tests/data/tiny-v32", "v3": ROOT / "tests/data/tiny-v3",
    "v4_odd": ROOT / "tests/data/tiny-v4-odd", "v32_odd": ROOT / "tests/data/tiny-v32-odd",
}  # fmt: skip
BAR = 1e-5
BATCH, CAPACITY = 5, 40  # no number of ranks divides 5
HOT = (90.0, 1.0, 5.0, 60.0, 0.0, 2.0, 2.0, 1.0)


@cache
def whole(name: str) -> tuple[Module, Any]:
    """The module of a tiny model, and its weights."""
    model = open_model(str(FOLDERS[name]))
    assert model.checkpoint is not None and model.sources is not None
    module = build_module(model.config, "f32")
    calls = add_load_functions(module, model.config, model.sources, "f32")
    type_ = module.functions["step_all"].params[3].type
    wanted = [(path, "") for path, _ in leaves(type_)]
    stream = stream_weights(module, model.checkpoint, model.config, calls, wanted, lambda path, form: None)
    return module, tree(type_, {path: array for path, _, array in stream})


def skewed(name: str) -> Any:
    """Weights with which every token goes to the same experts; a hash table names one expert three times."""
    module, weights = whole(name)
    type_ = module.functions["step_all"].params[3].type
    flat = dict(flatten(type_, weights))
    for path, array in flat.items():
        if path.endswith("ffn.table"):
            flat[path] = np.full_like(array, 3)
        if path.endswith("ffn.bias"):
            flat[path] = np.where(np.arange(len(array)) >= len(array) - 3, 100, 0).astype(array.dtype)
    return tree(type_, flat)


def steps(
    before: Module, after: Module | None, weights: Any, observe: Any = None, length: int = 9
) -> list[tuple[Any, Any]]:
    """(logits, state) after a prefill of ragged lengths, and after two tokens more, by one rank or by all."""
    rng, out = np.random.default_rng(1), []
    state_type, dims = before.functions["step_all"].params[4].type, {"B": BATCH, "T": CAPACITY}
    state, past = zeros(state_type, dims), np.zeros(BATCH, np.int32)
    for count, new in ((length, length - np.arange(BATCH)), (1, np.ones(BATCH)), (1, np.arange(BATCH) % 2)):
        tokens = rng.integers(0, 100, (BATCH, count)).astype(np.int32)
        operands, bound = [tokens, past, new.astype(np.int32), weights, state], dims | {"S": count}
        if after is None:
            logits, state = run(before, "step_all", operands, bound)
        else:
            logits, state = run_shared(before, after, "step_all", operands, bound, observe)
        live = np.arange(count) < new[:, None]
        out.append((np.where(live[..., None], logits, 0), flatten(state_type, state)))
        past = past + new.astype(np.int32)
    return out


@cache
def expected(name: str, skew: bool) -> list[tuple[Any, Any]]:
    """What the whole module gives."""
    return steps(whole(name)[0], None, skewed(name) if skew else whole(name)[1])


def difference(got: list[tuple[Any, Any]], want: list[tuple[Any, Any]]) -> float:
    logits = [np.abs(g - w).max() for (g, _), (w, _) in zip(got, want, strict=True)]
    state = [np.abs(g[path] - w[path]).max() for (_, g), (_, w) in zip(got, want, strict=True) for path in w]
    return float(max(*logits, *state))


def check_whole(name: str, step: PartitionExperts, skew: bool = False) -> None:
    module, weights = whole(name)
    after = step.run(module, Log())
    verify(after)
    watch = Conservation(after)
    got = steps(module, after, skewed(name) if skew else weights, watch)
    watch.done()
    assert watch.pairs > 0
    assert difference(got, expected(name, skew)) <= BAR


@pytest.mark.parametrize("name", ["v4", "v32"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("skew", [False, True], ids=["even", "skewed"])
def test_all_ranks_equal_one(name: str, ranks: int, skew: bool) -> None:
    check_whole(name, PartitionExperts(ranks=ranks), skew)


@pytest.mark.parametrize("name", ["v4", "v32"])
@pytest.mark.parametrize(("ranks", "copies"), [(2, 4), (4, 3), (8, 8)])
@pytest.mark.parametrize("waves", [1, 2])
def test_copies_of_hot_experts_and_waves(name: str, ranks: int, copies: int, waves: int) -> None:
    check_whole(name, PartitionExperts(ranks=ranks, loads=HOT, copies=copies, waves=waves), skew=True)


@pytest.mark.parametrize("name", ["v3", "v4_odd", "v32_odd"])
def test_experts_that_ranks_do_not_divide_leave_slots_empty(name: str) -> None:
    check_whole(name, PartitionExperts(ranks=4))


def test_one_rank_is_the_whole_module() -> None:
    check_whole("v32", PartitionExperts(ranks=1))


def test_rows_in_fp8_are_near() -> None:
    module, weights = whole("v32")
    after = PartitionExperts(ranks=2, wire="f8e4m3").run(module, Log())
    assert 1e-5 < difference(steps(module, after, weights), expected("v32", False)) < 0.2


# Experts alone, routed by hand

B, S = symbol("B"), symbol("S")
E, K, WIDTH, INNER = 6, 3, 8, 4
WEIGHTS = Bundle("weights", (
    ("gate", TensorType((E, INNER, WIDTH), "f32")), ("up", TensorType((E, INNER, WIDTH), "f32")),
    ("down", TensorType((E, WIDTH, INNER), "f32")),
))  # fmt: skip


def small(limit: float = 7.0) -> Module:
    """A module of the kernel op alone."""
    module = Module("small", entry="step")
    pairs = (B, K)
    with Builder(
        module, "step", x=TensorType((B, WIDTH), "f32"), chosen=TensorType(pairs, "i32"), mix=TensorType(pairs, "f32"),
        live=TensorType((B,), "bool"), w=WEIGHTS,
    ) as b:  # fmt: skip
        x, chosen, mix, live, w = b.params
        b.done(*b.emit("experts", (x, chosen, mix, live, w.gate, w.up, w.down), {"limit": limit}))
    return module


def operands(chosen: Any, seed: int = 0) -> list[Any]:
    rng, tokens = np.random.default_rng(seed), len(chosen)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {"gate": draw(E, INNER, WIDTH), "up": draw(E, INNER, WIDTH), "down": draw(E, WIDTH, INNER)}
    return [draw(tokens, WIDTH), np.array(chosen, np.int32), draw(tokens, K), np.arange(tokens) % 4 != 3, weights]


ROUTES = {
    "all to one": [[2, 2, 2]] * 9,
    "two experts only": [[1, 4, 1], [4, 1, 4]] * 4,
    "none at all": [[-1, E, 99]] * 4,
    "mixed": np.random.default_rng(3).integers(-1, E + 1, (13, K)).tolist(),
    "one token": [[5, 0, 3]],
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("copies", [0, 3, 6])
@pytest.mark.parametrize("waves", [1, 2])
def test_any_route(route: str, ranks: int, copies: int, waves: int) -> None:
    given, module = operands(ROUTES[route]), small()
    step = PartitionExperts(ranks=ranks, copies=copies, waves=waves)
    if ranks > E + copies or waves > -(-(E + copies) // ranks):
        with pytest.raises(IRError, match="use "):
            step.run(module, Log())
        return
    after = step.run(module, Log())
    watch, dims = Conservation(after), {"B": len(given[0])}
    (got,) = run_shared(module, after, "step", given, dims, watch)
    watch.done()
    chosen, live = given[1], given[3]
    assert watch.pairs == ((chosen >= 0) & (chosen < E) & live[:, None]).sum()
    (want,) = run(module, "step", given, dims)
    assert np.abs(got - want).max() <= BAR


def test_copies_take_turns() -> None:
    log = Log()
    PartitionExperts(ranks=2, copies=2).run(small(), log)
    assert "the copies are of the first experts" in log.notes[0]
    after = PartitionExperts(ranks=2, loads=(9, 1, 1, 1, 1, 1), copies=2).run(small(), Log())
    place_pairs = after.functions["place_pairs"]
    chosen = np.zeros((4, K), np.int32)
    slots = [out[0] for out in run_ranks(after, place_pairs.name, [[chosen, np.ones(4, bool)]] * 2, {"B": 4})]
    held = [np.bincount(slot.reshape(-1), minlength=8) for slot in slots]
    assert [sorted(h[h > 0].tolist()) for h in held] == [[6, 6], [6, 6]]
    assert slots[0].reshape(-1)[0] != slots[1].reshape(-1)[0]  # single tokens on two ranks do not meet at one copy


# Conservation

PLANTED = {
    "a wave twice": ("count=1, first=1", "count=1, first=0", "is sent 2 times"),
    "a wave not summed": ("%mix, count=1, first=1", "%mix, count=1, first=0", "is summed 0 times"),
    "a lost expert": ("data=[0, 1, 2, 3, 4, 5], dtype=\"i32\", shape=[6]", "data=[0, 1, 6, 3, 4, 5], dtype=\"i32\", "
                      "shape=[6]", r"expert 2, slot 6\) is sent 0 times"),
    "a wrong home": ("data=[0, 1, 2, 3, 4, 5], dtype=\"i32\", shape=[6]", "data=[0, 1, 3, 2, 4, 5], dtype=\"i32\", "
                     "shape=[6]", "is at a slot of another expert"),
    "other weights": ("data=[0, 1, 2, 3, 4, 5], dtype=\"i32\", shape=[3, 2]", "data=[0, 1, 2, 2, 4, 5], dtype=\"i32\", "
                      "shape=[3, 2]", "is at a slot of another expert"),
    "padding sent": ("where(%5,", "where(%4,", r"no expert, slot \d\) is sent 1 times"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_violation_is_named(planted: str) -> None:
    before, after, message = PLANTED[planted]
    module = small()
    text = to_text(PartitionExperts(ranks=3, waves=2).run(module, Log()))
    assert before in text
    broken = parse(text.replace(before, after))
    given = operands([[0, 1, 2], [3, 4, 5]] * 6)
    watch = Conservation(broken)
    with pytest.raises(IRError, match=message):
        run_shared(module, broken, "step", given, {"B": 12}, watch)
        watch.done()


# Placement


def test_even_placement_keeps_neighbours_together() -> None:
    assert place(8, 4) == Placement(((0, 1), (2, 3), (4, 5), (6, 7)))
    assert place(6, 4) == Placement(((0, 1), (2, -1), (3, 4), (5, -1)))


def test_loads_are_balanced_and_hot_experts_copied() -> None:
    loads = (80.0, 10, 10, 10, 10, 10, 10, 20)
    plain, copied = place(8, 4, loads), place(8, 4, loads, copies=4)
    assert max(plain.expected(loads)) == 90  # every rank has two slots
    assert len(copied.homes(8)[0]) == 4 and max(copied.expected(loads)) <= 45
    assert all(len({slot // copied.slots for slot in home}) == len(home) for home in copied.homes(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": 16}, r"16 ranks, but 8 experts with 0 copies.*use ranks <= 8, or copies >= 8"),
        ({"ranks": 2, "copies": 9}, "room for 8"),
        ({"ranks": 2, "loads": (1.0, 2.0)}, "2 loads for 8 experts; give one for each"),
        ({"ranks": 2, "loads": (-1.0,) * 8}, "negative"),
        ({"ranks": 4, "waves": 3}, "3 waves, but a rank holds 2 experts; use waves <= 2"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(IRError, match=message):
        PartitionExperts(**options).run(whole("v32")[0], Log())


@pytest.mark.parametrize("options", [{"ranks": 0}, {"waves": 0}, {"copies": -1}, {"mesh": "a b"}])
def test_options_are_checked_when_the_pass_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        PartitionExperts(**options)


def test_modules_without_experts_and_partitioned_ones_are_refused() -> None:
    module = Module("none", entry="step")
    with Builder(module, "step", x=TensorType((B,), "f32")) as b:
        b.done(b.params[0] * 2.0)
    with pytest.raises(IRError, match="has no experts; run fuse-kernels first"):
        PartitionExperts().run(module, Log())
    once = PartitionExperts(ranks=2).run(small(), Log())
    with pytest.raises(IRError, match="is partitioned already"):
        PartitionExperts(ranks=2).run(once, Log())


def test_one_rank_alone_is_an_error() -> None:
    module = small()
    after = PartitionExperts(ranks=2).run(module, Log())
    given = operands([[0, 1, 2]])
    (weights, _) = share(WEIGHTS, after.functions["step"].params[4].type, given[4], after, 2)
    with pytest.raises(IRError, match=r"step:: dispatch needs all ranks, this is one; use spmd\.run_ranks"):
        run(after, "step", [*given[:4], weights], {"B": 1})
    with pytest.raises(IRError, match="operands of 3 ranks; its collectives have 2 on ep"):
        run_ranks(after, "step", [[*given[:4], weights]] * 3, {"B": 1})


def test_a_target_of_one_rank_refuses_collectives() -> None:
    after = PartitionExperts(ranks=2).run(small(), Log())
    with pytest.raises(IRError, match="step:: dispatch needs 2 ranks, this target runs one"):
        lower(after, ("step",), KernelTable(), {})


# Text


@pytest.mark.parametrize("name", ["v4", "v32"])
def test_text_round_trip_and_same_bytes(name: str) -> None:
    step = PartitionExperts(ranks=4, loads=HOT, copies=4, waves=2)
    text = to_text(step.run(whole(name)[0], Log()))
    assert to_text(step.run(parse(to_text(whole(name)[0])), Log())) == text
    again = parse(text)
    verify(again)
    assert to_text(again) == text and mesh_of(again) == {"ep": 4}


def test_core_ops_and_the_kernel_op_are_partitioned_alike() -> None:
    module = whole("v4")[0]
    fused = with_kernel_op(module)
    names = [op.name for op in fused.functions["experts"].ops]
    assert names.count("experts") == 1 and "ragged_matmul" not in names
    step = PartitionExperts(ranks=2)
    assert to_text(step.run(fused, Log())) == to_text(step.run(module, Log()))
    dims = {"B": 3, "S": 2}
    rng = np.random.default_rng(0)
    experts = module.functions["experts"]
    given = [tree(p.type, {
        path: (rng.integers(0, 3, [evaluate(e, dims) for e in t.shape]).astype(np.int32) if t.dtype == "i32"
               else rng.standard_normal([evaluate(e, dims) for e in t.shape]).astype(np.float32))
        for path, t in leaves(p.type)
    }) for p in experts.params]  # fmt: skip
    (got,), (want,) = (run(m, "experts", given, dims) for m in (fused, module))
    assert got.tobytes() == want.tobytes()


# Cost


@pytest.mark.parametrize(("preset", "hidden", "k"), [("deepseek-v4-pro", 7168, 6), ("deepseek-v4-flash", 4096, 6)])
@pytest.mark.parametrize("waves", [1, 2])
def test_bytes_on_links_are_those_of_the_published_formula(preset: str, hidden: int, k: int, waves: int) -> None:
    """§13.3: 3 h a pair with FP8 dispatch (here a scale for each 128 channels is counted too), 4 h in bf16."""
    module = build_module(load_preset(preset), "bf16")
    pairs = {"B": 4, "S": 1024}
    count = 4 * 1024 * k
    plain = PartitionExperts(ranks=8, waves=waves).run(module, Log())
    assert evaluate(link_bytes(plain, "experts"), pairs) == count * 4 * hidden
    packed = PartitionExperts(ranks=8, waves=waves, wire="f8e4m3").run(module, Log())
    assert evaluate(link_bytes(packed, "experts"), pairs) == count * (3 * hidden + hidden // 128)
    layers = sum(name.startswith("layer_") for name in module.functions["backbone"].callees())
    assert evaluate(link_bytes(plain, "step"), pairs | {"T": 2048}) == layers * count * 4 * hidden


def test_the_largest_model_is_partitioned_fast_and_readably() -> None:
    module = build_module(load_preset("deepseek-v4-pro"), "bf16")
    log, start = Log(), time.perf_counter()
    after = PartitionExperts(ranks=8, waves=4).run(module, log)
    assert time.perf_counter() - start < 3  # 0.5 s measured; the machine is shared
    text = to_text(after)
    assert text.count("\n") <= 1500 and to_text(parse(text)) == text
    assert any("688128 * B * S bytes" in note for note in log.notes)  # 8 * 6 * 7168 * 2: the worst case said aloud
    gate = dict(leaves(after.functions["step"].params[3].type))["layers.0.ffn.experts.gate"]
    assert gate.shape == (48, 3072, 7168)


def test_waves_need_nothing_of_each_other() -> None:
    function = PartitionExperts(ranks=2, waves=3).run(small(), Log()).functions["step"]
    makers = {id(r): op for op in function.ops for r in op.results}

    def behind(op: Any) -> set[int]:
        inputs = [makers[id(o)] for o in op.operands if id(o) in makers]
        return {id(op)}.union(*map(behind, inputs))

    combines = [op for op in function.ops if op.name == "combine"]
    dispatches = {id(op) for op in function.ops if op.name == "dispatch"}
    assert [len(behind(op) & dispatches) for op in combines] == [1, 1, 1]


# Collectives

MESH = {"mesh": "ep", "ranks": 2}


def test_gather_and_reduce() -> None:
    parts = [[np.full((2, 3), float(rank + 1), np.float32)] for rank in range(2)]
    for (whole_,) in REGISTRY["all_gather"].exchange(parts, **MESH):  # type: ignore[misc]
        assert whole_[:, 0].tolist() == [1, 1, 2, 2]
    (first,), (second,) = REGISTRY["reduce_scatter"].exchange(parts, **MESH)  # type: ignore[misc]
    assert first.tolist() == second.tolist() == [[3.0] * 3]


def test_costs_of_gather_and_reduce() -> None:
    x, wide = TensorType((B, 8), "bf16"), TensorType((4 * B, 8), "bf16")
    attrs = {"mesh": "ep", "ranks": 4}
    assert REGISTRY["all_gather"].cost([x], [wide], attrs).link == 3 * 16 * B
    assert REGISTRY["reduce_scatter"].cost([wide], [x], attrs).link == 3 * 16 * B


@pytest.mark.parametrize(
    ("name", "types", "attrs", "message"),
    [
        ("rank", [], {"mesh": "", "ranks": 2}, "mesh '' of 2 ranks"),
        ("all_gather", [TensorType((), "f32")], MESH, "no axis to join"),
        ("reduce_scatter", [TensorType((4, 2), "i32")], MESH, "no float tensor"),
        ("reduce_scatter", [TensorType((5, 2), "f32")], MESH, "4 is not 5"),
        ("dispatch", [TensorType((4, 2), "f32"), TensorType((4,), "i32")],
         {**MESH, "slots": 2, "first": 0, "count": 2, "wire": ""}, "slots are i32"),
        ("dispatch", [TensorType((4, 2), "f32"), TensorType((4, 2), "i32")],
         {**MESH, "slots": 2, "first": 1, "count": 2, "wire": ""}, "slots 1 to 3 of a rank's 2"),
        ("dispatch", [TensorType((4, 2), "f32"), TensorType((4, 2), "i32")],
         {**MESH, "slots": 2, "first": 0, "count": 2, "wire": "i8"}, "use f8e4m3"),
        ("combine", [TensorType((16, 2), "f32"), *[TensorType((4, 2), "i32")] * 3],
         {**MESH, "slots": 2, "first": 0, "count": 2}, "not i32 and f32"),
    ],
)  # fmt: skip
def test_shape_rules_of_collectives(name: str, types: Any, attrs: Any, message: str) -> None:
    def require(left: Any, right: Any) -> None:
        if left != right:
            raise ShapeError(f"{left} is not {right}")

    with pytest.raises(ShapeError, match=message):
        infer(Module("m"), name, types, attrs, require)


# Split over heads and channels


SPLITS = ({"shared": "split"}, {"attention": "heads"}, {"shared": "split", "attention": "heads"})


@pytest.mark.parametrize("name", ["v4", "v32", "v3"])
@pytest.mark.parametrize("options", SPLITS)
def test_split_attention_and_shared_expert(name: str, options: Any) -> None:
    check_whole(name, PartitionExperts(ranks=2, waves=2, **options))


def test_a_rank_has_its_heads_only() -> None:
    module = build_module(load_preset("deepseek-v4-pro"), "bf16")
    log, start = Log(), time.perf_counter()
    after = PartitionExperts(ranks=8, attention="heads", shared="split").run(module, log)
    assert time.perf_counter() - start < 5
    verify(after)
    text = to_text(after)
    assert to_text(parse(text)) == text and text.count("\n") <= 1600
    weights = dict(leaves(after.functions["step"].params[3].type))
    shapes = {name: weights[f"layers.4.{name}"].shape for name in ("attn.q_b", "attn.o_b", "attn.sinks", "attn.kv")}
    assert shapes == {
        "attn.q_b": (8192, 1536), "attn.o_b": (7168, 2048), "attn.sinks": (16,), "attn.kv": (512, 7168),
    }  # fmt: skip
    assert weights["layers.4.ffn.shared.down"].shape == (7168, 384)
    state = dict(leaves(after.functions["step"].params[4].type))
    assert state["layers.4.window"].shape == (8 * B, 128, 512)
    assert any("keeps the state of all 8 * B sequences" in note for note in log.notes)
    row = 7168 * B * S  # gathered in bf16 and summed in f32, beside past and new: 7 links each
    gathered = [link_bytes(after, name) for name in ("moe_learned", "layer_csa_learned")]
    assert gathered == [6 * 4 * row + 7 * 6 * row, 6 * 4 * row + 2 * 7 * 6 * row + 2 * 7 * 4 * B]


@pytest.mark.parametrize(
    ("name", "ranks", "options", "message"),
    [
        ("v4", 4, {"attention": "heads"}, "cannot be split: 4 ranks do not divide 2; use fewer ranks or attention=rep"),
        ("v4", 7, {"attention": "heads"}, "7 ranks do not divide q_b f32"),
        ("v32", 7, {"shared": "split"}, "7 ranks do not divide gate f32.*shared=replicated"),
    ],
)
def test_heads_that_ranks_do_not_divide(name: str, ranks: int, options: Any, message: str) -> None:
    with pytest.raises(IRError, match=message):
        PartitionExperts(ranks=ranks, **options).run(whole(name)[0], Log())


def kernel_form(name: str, monkeypatch: pytest.MonkeyPatch) -> Module:
    """The module of a tiny model in which every kernel op that the models call is left as one op."""

    def emitting(op: str) -> Any:
        def emit(*operands: Any, **attrs: Any) -> Any:
            out = ACTIVE[-1].emit(op, operands, attrs)
            return out[0] if len(out) == 1 else out

        return emit

    for part in ("blocks", "mla", "skeleton", "v4", "v4_attention"):
        namespace = importlib.import_module(f"dsv4c.models.{part}")
        for key, value in vars(namespace).items():
            op = getattr(value, "__name__", "")
            if op in REGISTRY and REGISTRY[op].decompose is value:
                monkeypatch.setattr(namespace, key, emitting(op))
    return build_module(open_model(str(FOLDERS[name])).config, "f32")


@pytest.mark.parametrize("name", ["v4", "v32"])
@pytest.mark.parametrize("options", [{}, *SPLITS])
def test_modules_of_kernel_ops(name: str, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = kernel_form(name, monkeypatch)
    assert [op.name for op in module.functions["experts"].ops].count("experts") == 1
    after = PartitionExperts(ranks=2, waves=2, **options).run(module, Log())
    verify(after)
    assert difference(steps(module, after, whole(name)[1]), expected(name, False)) <= BAR


# What stops a split


def spread_of(write: Any, split: dict[str, int], **params: TensorType) -> Any:
    module = Module("m", entry="f")
    with Builder(module, "f", **params) as b:
        function = b.done(write(*b.params))
    spread = Spread(function, 2, {id(p): Split(split[p.name]) for p in function.params if p.name in split})
    for op in function.ops:
        spread.visit(op)
    return spread.parts.get(id(function.results[0]))


X = TensorType((B, 4, 8), "f32")


@pytest.mark.parametrize(
    ("write", "want"),
    [
        (lambda x: total(x, axis=0), Split(0)),
        (lambda x: total(x, keep=True), Split(1)),
        (lambda x: transpose(x, 1, 0, 2), Split(0)),
        (lambda x: reshape(x, B * 4, 8), Split(0, B)),
        (lambda x: reshape(reshape(x, B * 4, 8), B, 4, 8), Split(1)),
        (lambda x: reshape(x, B, 32), Split(1)),
        (lambda x: reshape(x, B, 2, 16), Split(1)),
        (lambda x: x + const(1.0, "f32", (1, 4, 8)), Split(1)),
        (lambda x: matmul(reshape(x, B, 32), reshape(x, B, 32), trans_b=True), Partial()),
        (lambda x: gather(transpose(x, 0, 2, 1), iota(B, 3), batch=1), Split(2)),
        (lambda x: broadcast_to(reshape(x, 1, B, 4, 8), 3, B, 4, 8), Split(2)),
    ],
)  # fmt: skip
def test_how_a_split_spreads(write: Any, want: Any) -> None:
    assert spread_of(write, {"x": 1}, x=X) == want


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda x, y: total(x, axis=1), "sum along axis 1, which is split"),
        (lambda x, y: x + y, "add: operand 1 is whole along axis 1"),
        (lambda x, y: x + transpose(x, 1, 0, 2), "different axes"),
        (lambda x, y: reshape(x, 8, B * 4), "takes the split axis apart"),
        (lambda x, y: cumsum(x, 1), "cumsum along axis 1"),
        (lambda x, y: matmul(transpose(x, 0, 2, 1), y, trans_b=True), "matmul of a part and a whole"),
        (lambda x, y: gather(transpose(x, 1, 0, 2), iota(3)), "gather by an index, or of rows, that are split"),
        (lambda x, y: matmul(reshape(x, B, 32), reshape(x, B, 32), trans_b=True) * 2.0, "a sum that is not complete"),
        (lambda x, y: scatter(x, iota(B), x), "scatter is not known to work on a part"),
    ],
)  # fmt: skip
def test_what_stops_a_split(write: Any, message: str) -> None:
    params = {"x": TensorType((4, 4, 8), "f32") if "different" in message else X}
    other = TensorType((B, 4, 8) if "add" in message else (B, 8, 4), "f32")
    with pytest.raises(SplitError, match=message):
        spread_of(write, {"x": 1}, **params, y=other)
