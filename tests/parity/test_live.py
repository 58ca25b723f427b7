"""Live against transformers: other seeds and dimensions than the stored golden files. Needs the parity extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import make_tiny
import pytest
from checks import FEEDINGS, check_batch, check_feeding, check_greedy, compiled_step, interpreted_step

from dsv4c.artefact import Artefact
from dsv4c.driver.compile import compile_model
from dsv4c.runtime.session import Session

# (variant, seed, what differs from it)
CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("v3", 11, {}),
    ("v32", 12, {"index_topk": 64}),
    ("v4", 13, {}),
    ("v4-odd", 14, {"num_attention_heads": 6, "sliding_window": 3}),
]


@pytest.mark.parametrize(("variant", "seed", "overrides"), CASES, ids=[c[0] for c in CASES])
def test_logits_and_tokens(
    variant: str, seed: int, overrides: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_tiny, "TRIES", 8)
    model = make_tiny.build(variant, seed, overrides)
    golden = make_tiny.golden(model, seed)
    make_tiny.save(model, tmp_path / "model")
    compile_model(str(tmp_path / "model"), tmp_path / "out")
    session = Session(Artefact.open(tmp_path / "out"))
    for feeding in FEEDINGS:
        check_feeding(compiled_step(session, 2, 48), golden, feeding)
        check_feeding(interpreted_step(tmp_path / "model", 2, 48), golden, feeding)
    check_greedy(session, golden)
    check_batch(session, golden)
