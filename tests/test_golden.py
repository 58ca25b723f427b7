"""Logits and tokens against what transformers computed (tests/data/golden_*.npz), by interpreter and by kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from checks import (
    BAR,
    FEEDINGS,
    PUBLISHED,
    Golden,
    check_batch,
    check_feeding,
    check_greedy,
    check_published,
    compiled_step,
    interpreted_step,
    numbered,
)

from dsv4c.artefact import Artefact
from dsv4c.driver.compile import compile_model
from dsv4c.runtime.session import Session

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "v3": ROOT / "tests/data/tiny-v3",
    "v3_odd": ROOT / "tests/data/tiny-v3-odd",
    "v32": ROOT / "tests/data/tiny-v32",
    "v32_odd": ROOT / "tests/data/tiny-v32-odd",
    "v4": ROOT / "examples/tiny-v4",
    "v4_odd": ROOT / "tests/data/tiny-v4-odd",
}
CAPACITY = 48


@dataclass(frozen=True)
class Case:
    """What transformers said of a model, and its compiled session."""

    name: str
    golden: Golden
    session: Session


def golden_of(name: str) -> Golden:
    return dict(np.load(ROOT / f"tests/data/golden_{name}.npz"))


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    out = tmp_path_factory.mktemp("golden") / request.param
    compile_model(str(MODELS[request.param]), out)
    return Case(request.param, golden_of(request.param), Session(Artefact.open(out)))


@pytest.mark.parametrize("feeding", FEEDINGS)
def test_kernels_agree_with_transformers(case: Case, feeding: str) -> None:
    check_feeding(compiled_step(case.session, 2, CAPACITY), case.golden, feeding)


@pytest.mark.parametrize("name", PUBLISHED)
def test_stored_values_are_the_published_ones(name: str) -> None:
    check_published(name, golden_of(name)["logits"], each=2e-6)  # the peer on two machines: sums in other orders


@pytest.mark.parametrize("case", PUBLISHED, indirect=True)
def test_kernels_give_the_published_values(case: Case) -> None:
    tokens = case.golden["tokens"].astype(np.int32)
    check_published(case.name, compiled_step(case.session, 2, CAPACITY)(tokens, 0, 40), BAR)


@pytest.mark.parametrize("name", PUBLISHED)
def test_interpreter_gives_the_published_values(name: str) -> None:
    tokens = golden_of(name)["tokens"].astype(np.int32)
    check_published(name, interpreted_step(MODELS[name], 2, CAPACITY)(tokens, 0, 40), BAR)


@pytest.mark.parametrize("feeding", FEEDINGS)
@pytest.mark.parametrize("name", MODELS)
def test_interpreter_agrees_with_transformers(name: str, feeding: str) -> None:
    check_feeding(interpreted_step(MODELS[name], 2, CAPACITY), golden_of(name), feeding)


def test_greedy_tokens_are_those_of_transformers(case: Case) -> None:
    check_greedy(case.session, case.golden)


def test_a_batch_of_different_lengths_equals_one_at_a_time(case: Case) -> None:
    check_batch(case.session, case.golden)


def test_long_prompts_are_fed_in_chunks(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, new, _ = list(numbered(case.golden))[2]
    monkeypatch.setattr("dsv4c.runtime.session.CHUNK", 7)
    assert case.session.generate(prompt, len(new)) == new
