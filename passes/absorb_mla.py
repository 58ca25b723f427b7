"""``absorb-mla``: the up-projections of keys and values move to the query and the output (architectures.md §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dsv4c.ir.builder import reshape, slice_axis, transpose
from dsv4c.ir.core import ACTIVE, Function, Module, Op, Value
from dsv4c.ir.dims import evaluate
from dsv4c.ir.registry import lookup

from .base import Log, Pass, map_functions
from .rewriting import Splice

CONTEXT = 4096  # tokens at which the two forms are compared; both grow linearly with it


@dataclass(frozen=True)
class AbsorbMla(Pass):
    """Attention over the latent cache itself, where that costs less: one query a sequence, not a whole chunk."""

    name: ClassVar[str] = "absorb-mla"
    doc: ClassVar[str] = "mla_attention(q, latents, W_kv) -> mla_absorbed(q W_uk, latents) W_uv"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"
    exact: ClassVar[bool] = False  # the sums run in another order

    def run(self, module: Module, log: Log) -> Module:
        """Blocks that know how many new tokens there are."""
        return map_functions(module, lambda function: self._function(module, function, log))

    def _function(self, module: Module, function: Function, log: Log) -> Function:
        splice, some = Splice(module, function), False
        for op in function.ops:
            if op.name != "mla_attention":
                continue
            where = f"{function.name}:{op.loc}"
            if not isinstance(op.operands[0].shape[1], int):
                log.refuse(self.name, where, "the number of new tokens is not known; specialize comes first")
                continue
            naive, absorbed = _flops(op)
            said = f"{where}: {naive / 1e6:.1f} MFLOP naive, {absorbed / 1e6:.1f} absorbed at {CONTEXT} tokens"
            if naive <= absorbed:
                log.refuse(self.name, where, said)
                continue
            log.notes.append(said)
            log.applied[self.name] += 1
            splice.replace(op, op.results, lambda op=op: (_absorbed(op),))  # type: ignore[misc]
            some = True
        return splice.done() if some else function


def _absorbed(op: Op) -> Value:
    """The op's equation with the weights absorbed."""
    q, latents, rope_keys, kv_b, limit = op.operands
    nope: Any = op.attrs["nope"]
    width: Any = op.attrs["width"]
    _, _, heads, whole = q.shape
    rank = latents.shape[2]
    both = reshape(kv_b, heads, nope + width, rank)
    into, out_of = slice_axis(both, 0, nope, axis=1), slice_axis(both, nope, nope + width, axis=1)
    q_latent = _per_head(slice_axis(q, 0, nope), transpose(into, 0, 2, 1))
    (mixed,) = ACTIVE[-1].emit(
        "mla_absorbed",
        (q_latent, slice_axis(q, nope, whole), latents, rope_keys, limit),
        {"scale": op.attrs["scale"]},
    )
    return _per_head(mixed, out_of)


def _per_head(x: Value, w: Value) -> Value:
    """``x [B, S, H, K]`` times each head's matrix of ``w [H, N, K]``: ``[B, S, H, N]``."""
    batch, length, heads, inner = x.shape
    (out,) = ACTIVE[-1].emit("grouped_linear", (reshape(x, batch * length, heads, inner), w), {})
    return reshape(out, batch, length, heads, w.shape[1])


def _flops(op: Op) -> tuple[float, float]:
    """Work of both forms for one sequence: registry costs, with the capacity taken as CONTEXT tokens."""
    q, latents, *_ = op.operands
    _, _, heads, _ = q.shape
    nope: Any = op.attrs["nope"]
    width: Any = op.attrs["width"]
    rank, turned = latents.shape[2], op.operands[2].shape[2]
    pairs = 2 * CONTEXT * int(str(heads)) * int(str(q.shape[1]))
    absorbed = pairs * (2 * int(str(rank)) + int(str(turned)))
    absorbed += 2 * int(str(q.shape[1])) * int(str(heads)) * int(str(rank)) * (nope + width)
    cost = lookup(op.name).cost([o.tensor for o in op.operands], [r.tensor for r in op.results], op.attrs)
    bound = {"B": 1, "T": CONTEXT, "S": 1}
    naive = sum(evaluate(flops, bound) for flops in cost.flops.values())
    return float(naive), float(absorbed)


