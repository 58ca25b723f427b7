"""From the tensors of a checkpoint to the leaves of the weights bundle: ``weights`` functions, run leaf by leaf.

A function is named for its arithmetic and has symbolic dimensions, so that all leaves of all layers share a handful.
Which tensors it reads for a leaf stands in the leaf's ``LoadCall``, as name templates: data, not text of the module.
Every function dequantises in f32 and rounds once, to the dtype that the leaf is held in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from dsv4c.ir.builder import Builder, cast, slice_axis
from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run_tensors
from dsv4c.ir.kernel_ops.quantised import dequantize
from dsv4c.ir.types import TensorType
from dsv4c.models.config import Config
from dsv4c.models.types import tensor_of
from dsv4c.models.weights import weight_leaves

from .checkpoint import Checkpoint
from .names import MXFP4_BLOCK, Source

Array = np.ndarray[Any, Any]

STORED = {  # safetensors' spelling of a dtype, and ours
    "F32": "f32", "BF16": "bf16", "F16": "f16", "F8_E4M3": "f8e4m3", "F8_E8M0": "f8e8m0",
    "I8": "i8", "I32": "i32", "I64": "i64",
}  # fmt: skip
E, N, K, H = symbol("E"), symbol("N"), symbol("K"), symbol("H")  # experts, outputs, inputs, half of the inputs


@dataclass(frozen=True)
class LoadCall:
    """How one leaf is made.

    Attributes:
        function: the weights function that is run on the tensors; None where the one tensor is the leaf as it is.
        tensors: a name for each parameter of the function. With ``{e}``, a template for the expert's number: the
            function is run for each expert, and the leaf is their results stacked along a new axis 0.
    """

    function: str | None
    tensors: tuple[str, ...]

    @property
    def stacked(self) -> bool:
        """Whether there is one set of tensors for each expert."""
        return "{e}" in self.tensors[0]

    def names(self, expert: int) -> list[str]:
        """The tensors of one expert; of the whole leaf where it is not stacked."""
        return [name.format(e=expert) if self.stacked else name for name in self.tensors]


def add_load_functions(
    module: Module,
    config: Config,
    sources: Mapping[str, Source],
    dtype: str,
    kept: Mapping[str, str] | None = None,
) -> dict[str, LoadCall]:
    """Add the weights functions that the sources need, and say for every leaf which one makes it, in order.

    Args:
        module: gets one function for each kind of arithmetic; those it has already are used again.
        config: the model.
        sources: where each leaf lies, from ``names.resolve``.
        dtype: the compute dtype (f32, bf16 or f16).
        kept: weights that stay as they are stored: the path of one, and the path that its scales are given.
    """
    calls = {}
    for path, leaf in weight_leaves(config).items():
        source = sources[path]
        if kept and path in kept:
            assert source.scale is not None
            calls[path], calls[kept[path]] = LoadCall(None, (source.name,)), LoadCall(None, (source.scale,))
            continue
        function = load_function(module, source, tensor_of(leaf, dtype))
        tensors = (source.name, source.scale) if source.scale else (source.name,)
        calls[path] = LoadCall(function.name if function else None, tensors)
    return calls


def load_function(module: Module, source: Source, leaf: TensorType) -> Function | None:
    """The function from the tensors of ``source`` to a leaf of this type, for one expert where they are stacked.

    None where the tensor already is what is wanted.
    """
    stored, dtype = STORED[source.stored], leaf.dtype
    if source.scheme == "fp8_block":
        return _fp8(module, STORED[source.scale_stored], source.block, dtype)
    if source.scheme == "mxfp4":
        return _mxfp4(module, dtype)
    if source.form in ("first_half", "second_half"):
        return _half(module, stored, source.form, dtype)
    rank = leaf.rank - 1 if source.form == "stack" else leaf.rank
    return _cast(module, stored, rank, dtype) if stored != dtype else None


def _cast(module: Module, stored: str, rank: int, dtype: str) -> Function:
    """A tensor of ``rank`` axes in another dtype; source: the tensor."""
    name = f"load_{stored}_{rank}d_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    with Builder(module, name, w=TensorType((E, N, K)[3 - rank :], stored)) as b:
        return b.done(cast(b.params[0], dtype), kind="weights")


def _half(module: Module, stored: str, half: str, dtype: str) -> Function:
    """``[E, N, K] -> [E, N / 2, K]``: gate or up; source: transformers' fused ``gate_up_proj`` (§6.4)."""
    name = f"load_{half}_{stored}_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    start, stop = (0, N // 2) if half == "first_half" else (N // 2, N)
    with Builder(module, name, w=TensorType((E, N, K), stored)) as b:
        return b.done(cast(slice_axis(b.params[0], start, stop, axis=1), dtype), kind="weights")


def _fp8(module: Module, scale_dtype: str, block: tuple[int, int], dtype: str) -> Function:
    """``w * scale``, ``[N, K]``; sources: e4m3 ``[N, K]``, scales ``[ceil(N / rows), ceil(K / columns)]`` (§9.1)."""
    rows, columns = block
    name = f"load_fp8_{rows}x{columns}_{scale_dtype}_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    scales = TensorType(((N + rows - 1) // rows, (K + columns - 1) // columns), scale_dtype)
    with Builder(module, name, w=TensorType((N, K), "f8e4m3"), scale=scales) as b:
        numbers = dequantize(*b.params, codes="f8e4m3", rows=rows, columns=columns, out=dtype)
        return b.done(numbers, kind="weights")


def _mxfp4(module: Module, dtype: str) -> Function:
    """``code * scale``, ``[N, 2H]``; sources: two codes a byte ``[N, H]``, scales ``[N, ceil(2H / 32)]`` (§9.2)."""
    name = f"load_mxfp4_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    rows, columns = MXFP4_BLOCK
    scales = TensorType(((N + rows - 1) // rows, (2 * H + columns - 1) // columns), "f8e8m0")
    with Builder(module, name, w=TensorType((N, H), "i8"), scale=scales) as b:
        numbers = dequantize(*b.params, codes="f4e2m1", rows=rows, columns=columns, out=dtype)
        return b.done(numbers, kind="weights")


def stream_weights(
    module: Module,
    checkpoint: Checkpoint,
    config: Config,
    calls: Mapping[str, LoadCall],
    wanted: Iterable[tuple[str, str]],
    pack: Callable[[str, str], Function | None],
    derived: Callable[[str], tuple[str, tuple[str, ...]] | None] = lambda path: None,
) -> Iterator[tuple[str, str, Array]]:
    """Load and pack one leaf after the other.

    No more than one leaf, what it is made from and one packed form of it are held here. The caller does its part by
    dropping each array (``del``) before it asks for the next; ``enumerate`` holds on to what it gave last.

    Args:
        module: has the functions of ``calls``, and those that ``pack`` gives.
        checkpoint: the folder that the sources of ``calls`` are in.
        config: the model.
        calls: from ``add_load_functions``.
        wanted: (path, form) pairs, as ``Plan.weights`` gives them. Forms of one path that follow each other share
            one load.
        pack: the function that packs a path into a form, None if it is read as it is; not asked for form "".
        derived: for the path of a weight that is made of others, the weights function and the paths of its operands.

    Yields:
        (path, form, array) in the order of ``wanted``. Arrays are contiguous and aligned; they are read-only, and
        mapped from the file, where the stored tensor already was what is wanted.
    """
    for path, forms in groupby(wanted, key=itemgetter(0)):
        leaf = _weight(module, checkpoint, config, calls, derived, path)
        for _, form in forms:
            function = pack(path, form) if form else None
            yield path, form, _apply(module, function.name if function else None, [leaf])
        del leaf  # before the next one is made


def _weight(
    module: Module,
    checkpoint: Checkpoint,
    config: Config,
    calls: Mapping[str, LoadCall],
    derived: Callable[[str], tuple[str, tuple[str, ...]] | None],
    path: str,
) -> Array:
    """A leaf, or what a weights function makes of some."""
    made = derived(path)
    if made is None:
        return load_leaf(module, checkpoint, config, calls[path])
    function, paths = made
    return _apply(module, function, [load_leaf(module, checkpoint, config, calls[p]) for p in paths])


def load_leaf(module: Module, checkpoint: Checkpoint, config: Config, call: LoadCall) -> Array:
    """One leaf; stacked experts are made one by one inside the leaf's own array ``[E, ...]``."""
    first = _part(module, checkpoint, call, 0)
    if not call.stacked:
        return first
    out = np.empty((config.moe.experts, *first.shape), first.dtype)
    out[0] = first
    for expert in range(1, len(out)):
        out[expert] = _part(module, checkpoint, call, expert)
    return out


def _part(module: Module, checkpoint: Checkpoint, call: LoadCall, expert: int) -> Array:
    return _apply(module, call.function, [checkpoint.read(name) for name in call.names(expert)])


def _apply(module: Module, name: str | None, arrays: list[Array]) -> Array:
    """The result of a weights function, its dimensions bound by the arrays; without one the only array itself."""
    if name is None:
        (out,) = arrays
    else:
        (out,) = run_tensors(module, name, arrays)
    return np.require(out, requirements=("C", "A"))
