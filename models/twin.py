"""The small twin of a model: the same kinds of layers and the same equations, every size reduced.

A pass over V4-Pro cannot be proven by executing V4-Pro; it is proven on the twin. Sizes differ from each other where
they may, so that an axis taken for another shows; windows and rates are so short that a few tokens fill them. Ranks
and head sizes are multiples of 16, as they are in the released models: passes ask for that.
"""

from __future__ import annotations

from dataclasses import replace

from .config import Config, Indexer, MlaConfig, Moe, Rope, V4Config

EXPERTS = 16


def small_twin(config: Config, experts: int = EXPERTS) -> Config:
    """A config with one layer of each kind; ``experts`` is raised for passes that spread them over many ranks."""
    return _v4(config, experts) if isinstance(config, V4Config) else _mla(config, experts)


def _mla(c: MlaConfig, experts: int) -> MlaConfig:
    dense = min(c.dense_layers, 1)
    return replace(
        c, vocab=64, hidden=40, layers=dense + min(c.layers - c.dense_layers, 1), dense_layers=dense, heads=4,
        q_rank=None if c.q_rank is None else 48, kv_rank=32, nope_dim=12, v_dim=16, rope=_rope(c.rope),
        dense_width=56, moe=_moe(c.moe, experts), indexer=c.indexer and Indexer(heads=3, head_dim=16, top_k=5),
        max_positions=256,
    )  # fmt: skip


def _v4(c: V4Config, experts: int) -> V4Config:
    kinds = list(dict.fromkeys(zip(c.attention, c.routing, strict=True)))
    return replace(
        c, vocab=64, hidden=40, layers=len(kinds), heads=4, head_dim=32, q_rank=48, window=6,
        attention=tuple(a for a, _ in kinds), routing=tuple(r for _, r in kinds), csa_rate=min(c.csa_rate, 4),
        hca_rate=8, indexer=Indexer(heads=3, head_dim=16, top_k=3), o_groups=min(c.o_groups, 2), o_rank=18,
        moe=_moe(c.moe, experts), rope=_rope(c.rope), compress_rope=_rope(c.compress_rope), max_positions=256,
    )  # fmt: skip


def _moe(m: Moe, experts: int) -> Moe:
    groups = 1 if m.groups == 1 else 4
    return replace(
        m, experts=experts, per_token=min(m.per_token, 3), shared=min(m.shared, 2), width=28, groups=groups,
        groups_kept=min(m.groups_kept, max(groups // 2, 1)),
    )  # fmt: skip


def _rope(rope: Rope) -> Rope:
    return replace(rope, dim=8)
