"""``dsv4c inspect`` against architectures.md: §11 (parameters), §13.1 (FLOPs), §13.2 and §9.4 (cache)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dsv4c.driver.inspect import Report, inspect
from dsv4c.errors import UserError
from dsv4c.frontend.presets import load_preset

K, M = 1024, 1024 * 1024

V3, V32, FLASH, PRO = "deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "deepseek-v4-pro"


def report(name: str, context: int = M) -> Report:
    return inspect(load_preset(name), context)


def giga(flops: float) -> float:
    return round(flops / 1e9, 2)


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        (V3, 671_026_419_200, 36.63),
        (V32, 671_877_944_064, 37.48),
        (FLASH, 284_332_240_471, 13.27),
        (PRO, 1_572_997_201_763, 48.85),
    ],
)
def test_parameters(name: str, total: int, active: float) -> None:
    found = report(name)
    assert found.total_parameters == total
    assert round(found.active_parameters / 1e9, 2) == active


@pytest.mark.parametrize(
    ("name", "linear", "core", "indexer", "weighted"),
    [
        (V32, 74.95, 34.80, 1047.97, 596.26),
        (PRO, 97.70, 76.67, 128.85, 157.74),
        (FLASH, 26.54, 23.61, 90.19, 59.42),
    ],
)
def test_flops_at_a_million_tokens(name: str, linear: float, core: float, indexer: float, weighted: float) -> None:
    found = report(name)
    assert found.indexer is not None
    assert giga(found.linear.flops) == linear
    assert giga(found.core.flops) == core
    assert giga(found.indexer.flops) == indexer
    assert giga(found.weighted_flops) == weighted


@pytest.mark.parametrize(
    ("context", "expected"),
    [(4 * K, {V32: 74.3, PRO: 59.3, FLASH: 15.6}), (128 * K, {V32: 137.8, PRO: 71.3, FLASH: 20.9})],
)
def test_weighted_flops_at_shorter_contexts(context: int, expected: dict[str, float]) -> None:
    assert {name: round(report(name, context).weighted_flops / 1e9, 1) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "flops", "unweighted", "kv"), [(PRO, 26.5, 26.2, 10.5), (FLASH, 10.0, 12.1, 7.3)]
)
def test_ratios_to_v32(name: str, flops: float, unweighted: float, kv: float) -> None:
    def plain(r: Report) -> int:
        return r.linear.flops + r.core.flops + (r.indexer.flops if r.indexer else 0)

    found, base = report(name), report(V32)
    assert round(100 * found.weighted_flops / base.weighted_flops, 1) == flops
    assert round(100 * plain(found) / plain(base), 1) == unweighted
    assert round(100 * found.kv_bytes_per_token / base.kv_bytes_per_token, 1) == kv


@pytest.mark.parametrize(
    ("name", "per_token", "sizes"),
    [
        (V3, 61 * 1152, {1152}),
        (V32, 48_068, {656, 132}),
        (FLASH, 3514, {584, 68}),
        (PRO, 5031, {584, 68}),
    ],
)
def test_kv_cache(name: str, per_token: int, sizes: set[int]) -> None:
    found = report(name)
    assert round(found.kv_bytes_per_token) == per_token
    assert {c.entry.size for c in found.cached} == sizes
    assert found.kv_bytes == found.kv_bytes_per_token * M  # every compressed entry is complete at 1M


def test_window_state_is_counted_apart_and_does_not_grow() -> None:
    assert [report(FLASH, context).window_bytes for context in (1, 128, M)] == [43 * 584, *[43 * 128 * 584] * 2]
    assert report(V32).window_bytes == 0


def test_incomplete_entries_are_not_cached() -> None:
    assert report(PRO, 3).kv_bytes == 0
    assert report(PRO, 130).kv_bytes == 30 * 32 * (584 + 68) + 31 * 584


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        (V3, {("mla", "dense"): 3, ("mla", "moe"): 58}),
        (V32, {("mla+dsa", "dense"): 3, ("mla+dsa", "moe"): 58}),
        (FLASH, {("window", "hash_moe"): 2, ("csa", "hash_moe"): 1, ("hca", "moe"): 20, ("csa", "moe"): 20}),
        (PRO, {("hca", "hash_moe"): 2, ("csa", "hash_moe"): 1, ("hca", "moe"): 29, ("csa", "moe"): 29}),
    ],
)
def test_layers_by_kind(name: str, kinds: dict[tuple[str, str], int]) -> None:
    found = report(name)
    assert {(kind.attention, kind.feed_forward): kind.count for kind in found.kinds} == kinds
    outside = found.total_parameters - sum(kind.count * kind.parameters for kind in found.kinds)
    config = load_preset(name)
    streams = getattr(config, "streams", 0)  # §11: hyper head 4·4d + 4 + 1
    hyper_head = streams * streams * config.hidden + streams + 1 if streams else 0
    assert outside == (2 * config.vocab + 1) * config.hidden + hyper_head


def test_v3_without_indexer_attends_to_everything() -> None:
    found = report(V3, 4 * K)
    assert found.indexer is None
    assert found.core.flops == 61 * 2 * 128 * 4 * K * 1088


def test_selection_is_capped_by_what_is_visible() -> None:
    assert report(V32, 100).core.flops == 61 * 2 * 128 * 100 * 1088
    # 100 tokens: all of them in the window, 25 entries at rate 4, none at rate 128
    assert report(PRO, 100).core.flops == 2 * 128 * 1024 * (30 * 125 + 31 * 100)


def test_a_tied_head_still_multiplies() -> None:
    config = load_preset(V3)
    tied = replace(config, tied_head=True)
    assert inspect(tied, 1).active_parameters == inspect(config, 1).active_parameters


@pytest.mark.parametrize("name", [V3, V32, FLASH, PRO])
def test_json_round_trips_and_adds_up(name: str) -> None:
    data = report(name, 8 * K).to_json()
    assert json.loads(json.dumps(data)) == data
    flops, kv = data["flops_per_token"], data["kv"]
    assert isinstance(flops, dict) and isinstance(kv, dict)
    parts = [flops[part]["weighted"] for part in ("linear", "core", "indexer") if part in flops]
    assert flops["weighted"] == pytest.approx(sum(parts))
    assert kv["bytes_at_context"] == sum(e["layers"] * e["size"] * (8 * K // e["tokens"]) for e in kv["layout"])


def test_a_context_below_one_is_refused() -> None:
    with pytest.raises(UserError, match="--context: a context of 0 tokens"):
        report(V3, 0)
