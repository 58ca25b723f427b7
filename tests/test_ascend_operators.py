"""Kernels as operators of CANN: the host's files are compiled unchanged, and whole models run through them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascend import needs_compiler
from quantise import quantise

import dsv4c
from dsv4c.driver.compile import compile_model
from dsv4c.driver.verify import verify_artefact
from dsv4c.errors import UserError
from dsv4c.targets.ascend import runner
from dsv4c.targets.ascend.emulate import Emulator, Unwritten, build
from dsv4c.targets.ascend.operators.emulated import OperatorHost, RefusedError
from dsv4c.targets.ascend.operators.runner import OperatorProgram, OperatorRunner, compiled_host
from dsv4c.targets.ascend.operators.signature import Operator, snake_case
from dsv4c.targets.tile.logical import Tensor
from dsv4c.targets.tile.physical import CrossSet, Part, Program
from dsv4c.targets.tile.scalar import var

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"v4": ROOT / "examples/tiny-v4", "v32": ROOT / "tests/data/tiny-v32"}
TYPES = {"float": 0, "float16": 1, "int8": 2, "int32": 3, "int64": 9, "bool": 12, "bf16": 27}  # as CANN numbers them
LIMITS = (4, 8)  # cube and vector cores


@pytest.fixture(scope="module", params=list(MODELS))
def artefact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model for one chip."""
    out = tmp_path_factory.mktemp("operators") / request.param
    return compile_model(str(MODELS[request.param]), out, target="ascend:910b3")


@pytest.fixture(scope="module")
def host(artefact: Path) -> OperatorHost:
    return OperatorHost(compiled_host(artefact / "operators/op_host"), LIMITS)


@pytest.fixture
def through_operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Everything is run by operators; the names of kernels whose operators were called."""
    called: set[str] = set()
    call = OperatorProgram._call

    def recorded(self: OperatorProgram, step: Any) -> Any:
        called.add(step.kernel)
        return call(self, step)

    monkeypatch.setattr(OperatorProgram, "_call", recorded)
    monkeypatch.setattr(runner, "EmulatorRunner", OperatorRunner)
    yield called


def described(artefact: Path) -> list[dict[str, Any]]:
    return json.loads((artefact / "operators/operators.json").read_text())


def one(artefact: Path, kind: str) -> str:
    """The first operator of that kind whose host file has the text that is given for it."""
    texts = {"RmsNorm": '"w", in[1], {24}', "GatherRows": "{s.M * s.N, 64}"}
    for op in described(artefact):
        source = artefact / f"operators/op_host/{snake_case(op['op'])}.cpp"
        if op["op"].startswith(kind) and texts.get(kind, "") in source.read_text():
            return str(op["op"])
    raise AssertionError(f"no {kind}")


@needs_compiler
def test_every_operator_agrees_with_the_plan_and_the_reference(artefact: Path, through_operators: set[str]) -> None:
    rows = verify_artefact(artefact)
    assert [f"{row.name}: {row.error}" for row in rows if row.status != "ok"] == []
    assert through_operators == {path.stem for path in (artefact / "kernels").glob("*.cpp")}


@needs_compiler
def test_operators_compute_what_kernels_compute(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = json.loads((MODELS["v4"] / "tokens.json").read_text())
    prompts = [peer["prompt"], [5, 6, 7]]
    kernels = dsv4c.load(artefact).generate_batch(prompts, 3, logits=True)
    monkeypatch.setattr(runner, "EmulatorRunner", OperatorRunner)
    operators = dsv4c.load(artefact).generate_batch(prompts, 3, logits=True)
    assert kernels.logits is not None and operators.logits is not None
    assert np.array_equal(operators.logits, kernels.logits, equal_nan=True)
    assert artefact.name != "v4" or operators.tokens[0] == peer["new"][:3]


@needs_compiler
def test_weights_that_stay_packed_reach_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantise(MODELS["v4"], tmp_path / "model")
    packed = compile_model(str(tmp_path / "model"), tmp_path / "out", target="ascend:950pr")
    kernels = dsv4c.load(packed).generate_batch([[5, 6, 7]], 2, logits=True)
    monkeypatch.setattr(runner, "EmulatorRunner", OperatorRunner)
    operators = dsv4c.load(packed).generate_batch([[5, 6, 7]], 2, logits=True)
    assert kernels.logits is not None and operators.logits is not None
    assert np.array_equal(operators.logits, kernels.logits, equal_nan=True)


@needs_compiler
def test_definitions_are_what_msopgen_reads(artefact: Path, host: OperatorHost) -> None:
    def parameters(side: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"name": p["name"], "option": 2, "types": [TYPES[t] for t in p["type"]], "formats": [2]} for p in side]

    assert len(host.definitions) == len(described(artefact))
    for op in described(artefact):
        assert host.definitions[op["op"]] == {
            "type": op["op"],
            "inputs": parameters(op["input_desc"]),
            "outputs": parameters(op["output_desc"]),
            "attrs": [{"name": a["name"], "option": 2, "integer": 1} for a in op.get("attr", [])],
            "units": ["ascend910b", "ascend910_93"],
        }


@needs_compiler
def test_operators_of_a_later_chip(tmp_path: Path) -> None:
    out = compile_model(str(MODELS["v32"]), tmp_path / "out", target="ascend:950pr")
    folder = out / "operators/op_host"
    for path in folder.glob("*.cpp"):
        if not path.name.startswith(("mla_absorbed", "iota_line")):
            path.unlink()
    host = OperatorHost(compiled_host(folder), (32, 64))
    assert {unit for op in host.definitions.values() for unit in op["units"]} == {"ascend950"}
    tiled = host.tiling(one(out, "IotaLine"), [], [(7,)], [7])
    assert (tiled.blocks, tiled.data) == (64, (7).to_bytes(8, "little"))


@needs_compiler
def test_operators_at_full_size(tmp_path: Path) -> None:
    out = compile_model("deepseek-v4-pro", tmp_path / "out", target="ascend:910b3", weights=False)
    folder = out / "operators/op_host"
    for path in folder.glob("*.cpp"):
        if not path.name.startswith(("sparse_attention", "linear_experts", "route_topk")):
            path.unlink()
    host = OperatorHost(compiled_host(folder), (20, 40))
    facts = json.loads((out / "manifest.json").read_text())["target"]["facts"]
    for name, op in host.definitions.items():
        wanted = next(each for each in described(out) if each["op"] == name)
        assert [p["types"] for p in op["inputs"]] == [[TYPES[p["type"][0]]] for p in wanted["input_desc"]]
    name = one(out, "SparseAttention")
    queries = (1, 1, 128, 512)
    shapes = [queries, (1, 128, 512), (1, 1, 512), (1,), (1,), (128,), (1, 1 << 18, 512), (1, 1, 1024)]
    tiled = host.tiling(name, shapes[: len(host.definitions[name]["inputs"])], [queries])
    assert tiled.workspace == (16 << 20) + 20 * facts["workspace"][f"sparse_attention_{name[-10:].lower()}"]
    assert host.infer(name, shapes[: len(host.definitions[name]["inputs"])]).types == (TYPES["bf16"],)


@needs_compiler
def test_types_of_results_are_those_defined(artefact: Path, host: OperatorHost) -> None:
    name = one(artefact, "ExpertOrder")
    assert host.infer(name, [(12,), (12,)]).types == (3, 3, 3)
    assert host.infer(name, [(12,), (12,)]).shapes == ((9,), (12,), (12,))
    assert host.infer(one(artefact, "OuterCompare"), [(5,), (7,)]).types == (12,)


@needs_compiler
def test_shapes_of_results_may_be_unknown_in_a_graph(artefact: Path, host: OperatorHost) -> None:
    assert host.infer(one(artefact, "RmsNorm"), [(-1, 24), (24,)]).shapes == ((-1, 24),)
    assert host.infer(one(artefact, "RmsNorm"), [(-2,), (24,)]).shapes == ((-1, 24),)


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "attributes", "says"),
    [
        ("RmsNorm", [(5, 25), (24,)], [(5, 24)], [], "x: axis 1 is 25, must be 24"),
        ("RmsNorm", [(5, 24)], [(5, 24)], [], "w is missing"),
        ("RmsNorm", [(5, 24), (24,)], [(6, 24)], [], "y: axis 0 is 6, must be 5"),
        ("RmsNorm", [(1, 5, 24), (24,)], [(5, 24)], [], "x has 3 axes, takes 2"),
        ("GatherRows", [(13, 64), (3,)], [(3, 64)], [], "x: axis 0 is 13, no multiple of 3"),
        ("OuterAdd", [(5,), (7,)], [(7, 5)], [], "y: axis 0 is 7, must be 5"),
        ("IotaLine", [], [(7,)], [], "the attribute size_n is missing or less than 0"),
        ("IotaLine", [], [(7,)], [-1], "the attribute size_n is missing or less than 0"),
        ("IotaLine", [], [(7,)], [8], "y: axis 0 is 7, must be 8"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    kind: str,
    inputs: list[tuple[int, ...]],
    outputs: list[tuple[int, ...]],
    attributes: list[int],
    says: str,
    artefact: Path,
    host: OperatorHost,
    capfd: pytest.CaptureFixture[str],
) -> None:
    name = one(artefact, kind)
    with pytest.raises(RefusedError, match=name):
        host.tiling(name, inputs, outputs, attributes)
    assert capfd.readouterr().err == f"{name}: {says}\n"
    if not says.startswith("y"):  # what is wrong with results is not known yet when shapes are inferred
        with pytest.raises(RefusedError, match=name):
            host.infer(name, inputs, attributes)
        assert capfd.readouterr().err == f"{name}: {says}\n"


@needs_compiler
def test_tiling_asks_for_the_cores_of_the_chip(artefact: Path) -> None:
    library = compiled_host(artefact / "operators/op_host")
    few, many = (OperatorHost(library, cores) for cores in ((1, 2), (24, 48)))
    shapes = [(5, 24), (24,)], [(5, 24)]
    for host, cores in ((few, 2), (many, 48)):
        assert host.tiling(one(artefact, "RmsNorm"), *shapes).blocks == cores


def test_kernels_are_the_same_text(artefact: Path) -> None:
    calls = json.loads((artefact / "operators/calls.json").read_text())
    for name, call in calls.items():
        file = snake_case(call["op"])
        ours, operators = (
            re.sub(rf"\b({own}|{name})(_tiling)?\b", "NAME", text).splitlines()
            for own, text in (
                (name, (artefact / f"kernels/{name}.cpp").read_text()),
                (file, (artefact / f"operators/op_kernel/{file}.cpp").read_text()),
            )
        )
        rings = "    workspace = GetUserWorkspace(workspace);"
        assert (rings in operators) == any("(workspace +" in line for line in ours)
        entry = re.compile(r"void NAME\(.*\)$")
        assert [entry.sub("", line) for line in operators if line != rings] == [entry.sub("", line) for line in ours]


def test_names_follow_the_rule(artefact: Path) -> None:
    documented = {"Abc": "abc", "AbcDef": "abc_def", "AbcAAc": "abc_a_ac", "Conv2DCustom": "conv2_d_custom"}
    assert {name: snake_case(name) for name in documented} == documented
    root = artefact / "operators"
    types = [op["op"] for op in described(artefact)]
    assert len(set(types)) == len({snake_case(name) for name in types}) == len(types)
    for name in types:
        file = snake_case(name)
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)
        assert not re.search(r"[0-9][A-Z]|[A-Z]{2}", name)  # there, older rules of CANN differ
        assert "".join(part.capitalize() for part in file.split("_")) == name
        assert f"void {file}(" in (root / f"op_kernel/{file}.cpp").read_text()
        assert f"struct {name}Tiling " in (root / f"op_kernel/{file}_tiling.h").read_text()
    assert sorted(p.stem for p in root.glob("op_host/*.cpp")) == sorted(p.stem for p in root.glob("op_kernel/*.cpp"))


def test_the_readme_says_how_to_call_each(artefact: Path) -> None:
    rows = re.findall(r"^\| (\w+) \| \w+ \| (.*) \|$", (artefact / "operators/README.md").read_text(), re.M)[1:]
    assert [name for name, _ in rows] == [op["op"] for op in described(artefact)]
    calls = dict(rows)
    assert calls[one(artefact, "Append")] == "cacheRef, rows, past, fresh"
    assert calls[one(artefact, "ExpertOrder")] == "chosen, orderRef, offsetsOut, slotOut"
    assert calls[one(artefact, "IotaLine")] == "sizeN, out"
    assert calls[one(artefact, "LightningIndexer")] == "q, headWeights, keys, past, out"


def test_workspaces_are_listed(artefact: Path) -> None:
    facts = json.loads((artefact / "manifest.json").read_text())["target"]["facts"]["workspace"]
    text = (artefact / "operators/WORKSPACE.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert rows == [(name, str(size), str(20 * size)) for name, size in facts.items()]
    assert f" {20 * max(facts.values())} bytes" in text


STAGED = """#include "kernel_operator.h"
using namespace AscendC;
extern "C" __global__ __aicore__ void {name}(GM_ADDR x, GM_ADDR y, GM_ADDR workspace) {{
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    {take}
    TPipe pipe;
    TBuf<TPosition::VECCALC> ub;
    pipe.InitBuffer(ub, 128);
    LocalTensor<float> tile = ub.Get<float>();
    GlobalTensor<float> from, between, to;
    from.SetGlobalBuffer((__gm__ float*)x, 32);
    between.SetGlobalBuffer((__gm__ float*)workspace, 32);
    to.SetGlobalBuffer((__gm__ float*)y, 32);
    DataCopy(tile, from, 32);
    SetFlag<HardEvent::MTE2_MTE3>(EVENT_ID0);
    WaitFlag<HardEvent::MTE2_MTE3>(EVENT_ID0);
    DataCopy(between, tile, 32);
    DataCopy(to, tile, 32);
}}
"""


@needs_compiler
def test_a_workspace_has_the_systems_part_in_front(tmp_path: Path) -> None:
    takes = {"plain": "", "user": "workspace = GetUserWorkspace(workspace);"}
    for name, take in takes.items():
        (tmp_path / f"{name}.cpp").write_text(STAGED.format(name=name, take=take))
    library = build(tmp_path, tmp_path / "out", machine=runner.cache())
    x, y, own = np.arange(32, dtype=np.float32), np.zeros(32, np.float32), np.zeros(32, np.float32)
    with Emulator(library) as emulator:
        emulator.launch("plain", 1, x, Unwritten(y), Unwritten(own))  # as <<<>>> calls it
        assert np.array_equal(own, x)
        found = emulator.launch("user", 1, x, y, own, check=False)
        assert "nothing has said where the system's part" in str(found[0])
        workspace = emulator.operator_workspace(128)
        emulator.launch("user", 1, x, Unwritten(y), workspace)
        assert np.array_equal(y, x)
        found = emulator.launch("plain", 1, x, y, workspace, check=False)
        assert [finding.kind for finding in found] == ["bounds"]


def test_a_kernel_that_waits_for_other_blocks_is_no_operator() -> None:
    x = Tensor("x", "f32", (var("M"),), "in")
    program = Program("sum_abc", "910b3", "2201", (x,), ("M",), (Part("AIV", (), (CrossSet("MTE3", 0, 0),)),))
    with pytest.raises(UserError, match=r"sum_abc: waits for other blocks"):
        Operator(program).check()
    Operator(replace(program, parts=(Part("AIV", (), (CrossSet("MTE3", 0, 2),)),))).check()


def test_sizes_come_from_shapes_where_they_can() -> None:
    def operator(*shapes: tuple[Any, ...]) -> Operator:
        tensors = tuple(Tensor(f"x{i}", "f32", shape, "in") for i, shape in enumerate(shapes))
        return Operator(Program("k_1", "910b3", "2201", tensors, ("M", "N"), ()))

    m, n = var("M"), var("N")
    assert [s.size for s in operator((m * n, 4), (m,)).solved] == ["M", "N"]
    assert operator((m * n, 4)).attributes == ["M", "N"]
    assert operator((m,), ((n + 7) // 8,)).attributes == ["N"]
    assert operator((n, m)).attributes == []
