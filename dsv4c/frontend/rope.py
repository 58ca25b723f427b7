"""Rotary parameters: ``rope_scaling`` and ``rope_parameters``, flat or nested, to ``Rope`` records.

The rules are those of transformers 5.23 (``modeling_rope_utils``, ``DeepseekV4Config``); architectures.md §1.2.
"""

from __future__ import annotations

from math import log

from dsv4c.models.config import Rope, Yarn

from .fields import Fields

THETA = 10000.0  # transformers' default base
COMPRESS_THETA = 160000.0  # DeepseekV4Config.compress_rope_theta
_LABELS = ("main", "compress")


def mla_rope(fields: Fields, dim: int, max_positions: int) -> tuple[Rope, float]:
    """The rotary embedding of V3 and V3.2, and YaRN's ``mscale_all_dim`` (0 where the softmax scale ignores it)."""
    block = _block(fields)
    if nested := [name for name, value in block.data.items() if isinstance(value, dict)]:
        raise block.error(nested[0], "an object inside of another", "only deepseek_v4 nests rotary parameters")
    for place in (fields, block):
        place.only("partial_rotary_factor", 1, "MLA rotates all of qk_rope_head_dim")
    theta = block.number("rope_theta", fields.number("rope_theta", THETA))
    yarn = _yarn(fields, block, max_positions, None)
    mscale_all_dim = block.number("mscale_all_dim") if yarn and _truthy(block, "mscale_all_dim") else 0.0
    return Rope(dim, theta, yarn), mscale_all_dim


def v4_ropes(fields: Fields, head_dim: int, max_positions: int) -> tuple[Rope, Rope]:
    """The rotary embeddings of V4's layers without and with a compressor.

    A flat block stretches only the layers with a compressor and does not scale cos and sin unless it says so; in
    a nested one (``main`` and ``compress``) each half stands for itself.
    """
    block = _block(fields)
    theta, compress_theta = fields.number("rope_theta", THETA), fields.number("compress_rope_theta", COMPRESS_THETA)
    dim = _rotary_dim(fields, head_dim, head_dim // 8)
    if (written := rotary_field(fields)) != "head_dim":  # before the halves are held against it
        check_rotary_dim(fields, written, dim, head_dim=head_dim)
    labels = [label for label in _LABELS if label in block.data]
    if len(labels) == 1:
        raise block.error(labels[0], "one half of nested rotary parameters", "give both main and compress")
    if not labels:
        if block.has("rope_theta") and block.number("rope_theta") != theta:
            raise block.error("rope_theta", f"contradicts rope_theta {theta:g}", "give the base as rope_theta alone")
        yarn = _yarn(fields, block, max_positions, 1.0)
        return Rope(dim, theta), Rope(dim, compress_theta, yarn)
    main, compress = (
        Rope(
            _rotary_dim(half, head_dim, dim),
            half.number("rope_theta", theta),
            _yarn(fields, half, max_positions, None),
        )
        for half in map(block.child, _LABELS)
    )
    if not main.dim == compress.dim == dim:
        what = f"rotary widths differ: {main.dim} in main, {compress.dim} in compress, {dim} outside"
        raise block.error("main.partial_rotary_factor", what, "they must be equal")
    return main, compress


def check_rotary_dim(fields: Fields, name: str, dim: int, **widths: int) -> None:
    """Refuse a rotary width that is odd or wider than one of the heads in ``widths`` (field name to width)."""
    if dim % 2:
        raise fields.error(name, f"a rotary width of {dim} is odd", "channels are rotated in pairs")
    for other, width in widths.items():
        if dim > width:
            raise fields.error(name, f"a rotary width of {dim} is more than {other} {width}")


def rotary_field(fields: Fields) -> str:
    """The field that V4's rotary width comes from: what ``_rotary_dim`` looks at, in its order."""
    given = (name for name in ("qk_rope_head_dim", "partial_rotary_factor") if fields.has(name))
    return next(given, "head_dim")


def _rotary_dim(block: Fields, head_dim: int, default: int) -> int:
    if block.has("qk_rope_head_dim"):
        return block.integer("qk_rope_head_dim")
    if not block.has("partial_rotary_factor"):
        return default
    # The factor is often a quotient of two integers: lift it over the rounding of that division.
    dim = int(head_dim * block.number("partial_rotary_factor") + 1e-6)
    if dim < 1:
        raise block.error("partial_rotary_factor", f"leaves no channel of head_dim {head_dim} to rotate")
    return dim


def _block(fields: Fields) -> Fields:
    """``rope_scaling`` where it says anything, as in transformers, else ``rope_parameters``."""
    scaling = fields.child("rope_scaling")
    return scaling if scaling.data else fields.child("rope_parameters")


def _yarn(fields: Fields, block: Fields, max_positions: int, attention_factor: float | None) -> Yarn | None:
    """The YaRN record of one block; ``attention_factor`` is the value where the block has none (None: derived)."""
    key = "rope_type" if block.has("rope_type") else "type"
    if block.choice(key, ("default", "yarn"), "default") == "default":
        return None
    block.only("truncate", True, "YaRN is implemented with whole-numbered bounds")
    trained = "original_max_position_embeddings"
    original = (fields if fields.has(trained) else block).integer(trained, max_positions)
    factor = block.number("factor", max_positions / original)
    if block.has("attention_factor"):
        attention_factor = block.number("attention_factor")
    return Yarn(
        factor=factor,
        original=original,
        beta_fast=block.number("beta_fast", 32.0),
        beta_slow=block.number("beta_slow", 1.0),
        attention_factor=_attention_factor(block, factor) if attention_factor is None else attention_factor,
    )


def _attention_factor(block: Fields, factor: float) -> float:
    """What transformers derives: the ratio of the two mscales if both are given and not zero."""
    if _truthy(block, "mscale") and _truthy(block, "mscale_all_dim"):
        return _mscale(factor, block.number("mscale")) / _mscale(factor, block.number("mscale_all_dim"))
    return _mscale(factor, 1.0)


def _mscale(factor: float, weight: float) -> float:
    return 0.1 * weight * log(factor) + 1.0 if factor > 1.0 else 1.0


def _truthy(block: Fields, name: str) -> bool:
    return block.has(name) and block.data[name] != 0
