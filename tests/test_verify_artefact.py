"""``verify`` in narrow dtypes: right kernels pass although roundings flip a top-k, wrong ones do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import dsv4c
from dsv4c.artefact import MANIFEST, PLAN, seal, write_json
from dsv4c.driver.compile import compile_model
from dsv4c.driver.kernels import Kernels
from dsv4c.driver.verify import difference, verify_artefact
from dsv4c.ir.interp import Data, run
from dsv4c.ir.parser import parse

TINY = Path(__file__).resolve().parents[1] / "examples" / "tiny-v4"
NARROW = {"bf16": ("bfloat16", ml_dtypes.bfloat16), "f16": ("float16", np.float16)}

CALLS = """module m entry f

func g(%x: f32[M]) {
  %0: f32[M] = neg(%x)
  return %0
}

func f(%x: f32[N]) {
  %0: f32[N] = call g(%x, M=N)
  return %0
}
"""


def checkpoint(folder: Path, dtype: str, seed: int) -> Path:
    """The demo's model with other numbers, as random as its own (architectures.md §14)."""
    name, kind = NARROW[dtype]
    rng, tensors = np.random.default_rng(seed), load_file(TINY / "model.safetensors")
    for key, old in sorted(tensors.items()):
        if old.dtype.kind == "f":
            noise = rng.standard_normal(old.shape)
            tensors[key] = (1 + 0.1 * noise if old.ndim == 1 and "norm" in key else 0.05 * noise).astype(kind)
    folder.mkdir()
    config = json.loads((TINY / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": name}))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bf16 model on whose drawn inputs a flipped choice moves the backbone by 5e-2, more than twice the tolerance."""
    folder = tmp_path_factory.mktemp("flip")
    return compile_model(str(checkpoint(folder / "model", "bf16", seed=3)), folder / "out")


def test_f16_computes_in_f16(tmp_path: Path) -> None:
    out = compile_model(str(checkpoint(tmp_path / "model", "f16", seed=0)), tmp_path / "out")
    assert json.loads((out / MANIFEST).read_text())["model"]["dtype"] == "f16"
    assert set(status(out).values()) == {"ok"}
    rounded = dsv4c.load(out).generate_batch([[1, 2, 3]], 4, logits=True).logits
    wide = compile_model(str(tmp_path / "model"), tmp_path / "wide", dtype="f32")
    exact = dsv4c.load(wide).generate_batch([[1, 2, 3]], 4, logits=True).logits
    # Three prompt positions: the tokens after them may differ. One step of f16 is 2^-10; layers add some of them up.
    assert rounded is not None and exact is not None and 0 < difference(rounded[:, :3], exact[:, :3], "f16") < 0.02


def status(folder: Path) -> dict[str, str]:
    return {row.name: row.status for row in verify_artefact(folder)}


def test_a_flip_behind_a_rounding_is_no_error(artefact: Path) -> None:
    assert set(status(artefact).values()) == {"ok"}


def test_test_vectors_say_what_was_compared(artefact: Path) -> None:
    row = verify_artefact(artefact)[-1]
    # step_all, backbone, and for each of 5 layers: itself, attention, experts
    assert row.name == "test vectors" and "2 sequences, 17 calls" in row.detail and "of 40 positions" in row.detail


def test_a_wrong_kernel_fails_in_its_own_row(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Kernels.__call__

    def wrong(self: Kernels, name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        out = real(self, name, operands, dims)
        return (out[0] * np.asarray(1.125, out[0].dtype),) if name == "moe_learned" else out

    monkeypatch.setattr(Kernels, "__call__", wrong)
    assert {name for name, state in status(artefact).items() if state == "failed"} == {"moe_learned", "test vectors"}


def test_a_call_that_binds_the_wrong_weights_fails(artefact: Path, tmp_path: Path) -> None:
    """Every function that is called is right: only the caller's own row can show it."""
    copy = tmp_path / "copy"
    shutil.copytree(artefact, copy)
    plan = json.loads((copy / PLAN).read_text())
    (backbone,) = (f for f in plan["functions"] if f["name"] == "backbone")
    sites = [step["args"] for step in backbone["steps"] if step.get("call") == "layer_csa_learned"]
    assert [site["w"] for site in sites] == ["param:weights:layers.1", "param:weights:layers.3"]
    sites[1]["w"] = sites[0]["w"]
    write_json(copy / PLAN, plan)
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).unlink()
    seal(copy, {key: value for key, value in manifest.items() if key not in ("schema", "files", "sha256")})
    assert {name for name, state in status(copy).items() if state == "failed"} == {"backbone", "test vectors"}


def test_the_interpreter_leaves_calls_to_whom_it_is_told() -> None:
    """``call`` gets the callee, its operands and its dimensions; its results are used as they are."""
    module = parse(CALLS)
    seen = []

    def call(name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        seen.append((name, [x.tolist() for x in operands], dict(dims)))
        return (operands[0] * 10,)

    x = np.array([1, 2], np.float32)
    (inside,), (handed,) = run(module, "f", [x], {"N": 2}), run(module, "f", [x], {"N": 2}, call)
    assert inside.tolist() == [-1, -2] and handed.tolist() == [10, 20]
    assert seen == [("g", [[1, 2]], {"N": 2, "M": 2})]
