"""Executes physical tile programs with numpy: addresses, padding and layouts as the chip has them, order as written.

On-chip memory is bytes, so that two buffers that share an address share what is there. Synchronisation does nothing
here; whether it suffices is for the verifier and the emulators to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from dsv4c.ir.types import DTYPES

from . import physical as ph
from .interpret import BINARY, COMPARE, UNARY, OutOfBoundsError, rows_of, unpacked
from .logical import Tensor, Window
from .scalar import Int, evaluate

Array = np.ndarray[Any, Any]
POISON = 0xFB  # a NaN in every float dtype

_NUMBER: Mapping[str, Callable[[Any, Any], Any]] = {
    "adds": np.add, "muls": np.multiply, "maxs": np.maximum, "mins": np.minimum, "shift_right": np.right_shift,
}  # fmt: skip
_REDUCE: Mapping[str, Callable[..., Any]] = {"whole_sum": np.sum, "whole_max": np.max, "whole_min": np.min}


def run(
    program: ph.Program,
    scopes: Mapping[str, int],
    arrays: Mapping[str, Array],
    sizes: Mapping[str, int],
    cores: int = 2,
) -> None:
    """Execute on ``cores`` cores, one after the other; outputs are written in place."""
    flats = {name: a.reshape(-1) for name, a in arrays.items()}
    with np.errstate(all="ignore"):
        for core in range(cores):
            rings = {r.tensor.name: np.zeros(r.size * r.depth, DTYPES[r.tensor.dtype]) for r in program.rings}
            flags: dict[int, int] = {}
            memory = {scope: np.full(size, POISON, np.uint8) for scope, size in scopes.items()}
            running = [
                _Core(memory, {**flats, **rings}, dict(sizes), core, cores, flags).run(part.body)
                for part in program.parts
            ]
            _alternate(running, program.name)
            if any(flags.values()):
                raise OutOfBoundsError(f"{program.name}: flags left set: {flags}")


def _alternate(running: list[Iterator[bool]], name: str) -> None:
    """Run the cores of a group, each until it waits; DeadlockError when all wait for ever."""
    stuck = 0
    while running:
        core = running.pop(0)
        try:
            moved = next(core)
        except StopIteration:
            stuck = 0
            continue
        running.append(core)
        stuck = 0 if moved else stuck + 1
        if stuck > len(running):
            raise DeadlockError(f"{name}: every core waits")


class DeadlockError(Exception):
    """The cores of a group wait for each other."""


class _Core:
    def __init__(
        self, memory: Mapping[str, Array], arrays: Mapping[str, Array], env: dict[str, int], core: int, cores: int,
        flags: dict[int, int],
    ) -> None:  # fmt: skip
        self.memory, self.arrays, self.env, self.core, self.cores = memory, arrays, env, core, cores
        self.flags = flags

    def run(self, body: tuple[ph.Step, ...]) -> Iterator[bool]:
        """The whole program; counters of channels start at 0."""
        self.env.update({step.name: 0 for step in ph.walk(body) if isinstance(step, ph.Tick)})
        yield from self.block(body)

    def block(self, body: tuple[ph.Step, ...]) -> Iterator[bool]:
        """Gives True where the core let the other one go on, False where it still waits."""
        for step in body:
            match step:
                case ph.Loop():
                    yield from self._loop(step)
                case ph.If():
                    if evaluate(step.condition, self.env):
                        yield from self.block(step.body)
                case ph.Get():
                    self._get(step)
                case ph.Instr():
                    self._instr(step)
                case ph.Tick():
                    self.env[step.name] += 1
                case ph.CrossSet():
                    self.flags[step.number] = self.flags.get(step.number, 0) + 1
                    yield True
                case ph.CrossWait():
                    while not self.flags.get(step.number, 0):
                        yield False
                    self.flags[step.number] -= 1

    def _loop(self, s: ph.Loop) -> Iterator[bool]:
        count = evaluate(s.count, self.env)
        for turn, at in enumerate(range(self.core, count, self.cores) if s.tasks else range(count)):
            self.env[s.var] = at
            if s.turn:
                self.env[s.turn] = turn
            yield from self.block(s.body)

    def _get(self, s: ph.Get) -> None:
        if isinstance(s.src, Tensor):
            self.env[s.name] = int(self.arrays[s.src.name][evaluate(s.index, self.env)])
        else:
            self.env[s.name] = int(self.region(s.src)[0])

    def region(self, r: ph.Region) -> Array:
        """The elements, as a view; OutOfBoundsError outside the buffer."""
        kind = DTYPES[r.dtype]
        offset = evaluate(r.offset, self.env) * kind.itemsize
        if offset < 0 or offset + r.reach * kind.itemsize > r.buffer.size:
            raise OutOfBoundsError(f"{r.buffer.name}: {r.dims} from byte {offset} of {r.buffer.size}")
        at = evaluate(r.address(), self.env)
        flat = self.memory[r.buffer.scope][at : at + r.reach * kind.itemsize].view(kind)
        shape, strides = zip(*r.dims, strict=True)
        return np.lib.stride_tricks.as_strided(flat, shape, [s * kind.itemsize for s in strides])

    def window(self, w: Window) -> Array:
        """The elements, as a view."""
        flat = self.arrays[w.tensor.name]
        offset, rows, cols, pitch = (evaluate(x, self.env) for x in (w.offset, w.rows, w.cols, w.pitch))
        return rows_of(w.tensor.name, flat, offset, rows, cols, pitch)

    def place(self, p: ph.Place) -> Array:
        return self.region(p) if isinstance(p, ph.Region) else self.window(p)

    def value(self, v: ph.Value | Int) -> float:
        return float(v) if isinstance(v, float) else float(evaluate(v, self.env))  # type: ignore[arg-type]

    def _instr(self, s: ph.Instr) -> None:
        (dst, *_), srcs = [self.place(p) for p in s.outs], [self.place(p) for p in s.ins]
        if s.op in BINARY:
            dst[...] = BINARY[s.op](*srcs)
        elif s.op in _NUMBER:
            dst[...] = _NUMBER[s.op](srcs[0], dst.dtype.type(self.value(s.args["value"])))
        elif s.op in UNARY:
            dst[...] = UNARY[s.op](srcs[0])
        elif s.op in _REDUCE:
            dst[...] = _REDUCE[s.op](srcs[0].reshape(dst.size, -1), axis=1)
        else:
            getattr(self, f"_{s.op}")(s, dst, srcs)

    def _duplicate(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = self.value(s.args["value"])

    def _iota(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = int(self.value(s.args["start"])) + np.arange(dst.size)

    def _cast(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        narrow = dst.dtype.kind == "i" and srcs[0].dtype.kind == "f"
        dst[...] = np.rint(srcs[0]) if narrow else srcs[0]

    def _unpack(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = unpacked(srcs[0]).reshape(-1)

    def _brcb(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = np.repeat(srcs[0], 8)

    def _gather(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = srcs[0][srcs[1] // srcs[0].itemsize]

    def _compare(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst.view(np.uint8)[...] = np.packbits(COMPARE[str(s.args["cmp"])](*srcs), bitorder="little")

    def _compares(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        hit = COMPARE[str(s.args["cmp"])](srcs[0], np.float32(self.value(s.args["value"])))
        dst.view(np.uint8)[...] = np.packbits(hit, bitorder="little")

    def _select(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        hit = np.unpackbits(srcs[0].view(np.uint8), bitorder="little")[: dst.size]
        dst[...] = np.where(hit, srcs[1], srcs[2])

    def _selects(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        hit = np.unpackbits(srcs[0].view(np.uint8), bitorder="little")[: dst.size]
        dst[...] = np.where(hit, srcs[1], self.value(s.args["value"]))

    def _compress(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        hit = np.unpackbits(srcs[1].view(np.uint8), bitorder="little")[: srcs[0].size].astype(bool)
        kept = srcs[0][hit]
        dst[: kept.size] = kept

    def _copy_in(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        """Rows to whole blocks of 32 bytes, the last of each filled up."""
        (src,), per = srcs, 32 // dst.itemsize
        rows, cols = src.shape
        full = np.lib.stride_tricks.as_strided(dst, (rows, -(-cols // per) * per), dst.strides)
        full[:, cols:] = self.value(s.args["fill"])
        full[:, :cols] = src

    def _copy_out(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = srcs[0][: dst.shape[0], : dst.shape[1]]

    # --- matrix products ---

    def _clear(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = 0

    def _nd2nz(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        """``[m, k]`` to columns of fractals; rows beyond the window are left alone."""
        (src,), c0 = srcs, 32 // dst.itemsize
        rows, cols = src.shape
        if dst.ndim == 1:
            fractals = dst.reshape(-1, int(self.value(s.args["rows"])), c0)
        else:  # some rows of each column
            shape = (dst.shape[0], dst.shape[1] // c0, c0)
            fractals = np.lib.stride_tricks.as_strided(dst, shape, (dst.strides[0], 32, dst.itemsize))
        for column in range(-(-cols // c0)):
            part = src[:, column * c0 : (column + 1) * c0]
            fractals[column, :rows, : part.shape[1]] = part
            fractals[column, :rows, part.shape[1] :] = 0

    def _load_a(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        """Fractals column by column to row by row."""
        rows, depth, c0 = int(self.value(s.args["rows"])), int(self.value(s.args["depth"])), 32 // dst.itemsize
        fractals = srcs[0].reshape(depth // c0, rows // 16, 16 * c0)
        dst[...] = fractals.transpose(1, 0, 2).reshape(-1)

    def _load_b(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        dst[...] = srcs[0]

    def _load_b_turned(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        """``[K, N]`` in fractals, each transposed."""
        depth, n, c0 = int(self.value(s.args["depth"])), int(self.value(s.args["n"])), 32 // dst.itemsize
        fractals = srcs[0].reshape(n // c0, depth // 16, 16, c0)  # columns of N, bands of K
        dst[...] = fractals.transpose(1, 0, 3, 2).reshape(-1)

    def _mmad(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        m, n, k = (int(self.value(s.args[key])) for key in ("m", "n", "k"))
        c0 = 32 // srcs[0].itemsize
        zz = s.args["left"] == "Zz"
        a: Array = srcs[0].reshape(m // 16 if zz else 1, k // c0, 16 if zz else m, c0).transpose(0, 2, 1, 3)
        a = a.reshape(m, k).astype(np.float32)
        b = srcs[1].reshape(k // c0, n // 16, 16, c0).transpose(1, 2, 0, 3).reshape(n, k).astype(np.float32)
        acc = dst.reshape(n // 16, m, 16)
        product = (a @ b.T).reshape(m, n // 16, 16).transpose(1, 0, 2)
        acc[...] = product if self.value(s.args["first"]) else acc + product

    def _fixpipe(self, s: ph.Instr, dst: Array, srcs: list[Array]) -> None:
        rows = int(self.value(s.args["rows"]))
        acc = srcs[0].reshape(-1, rows, 16).transpose(1, 0, 2).reshape(rows, -1)
        dst[...] = acc[: dst.shape[0], : dst.shape[1]]

    _load_nz, _load_nz_turned, _fixpipe_3510, _fixpipe_ub = _load_b, _load_b_turned, _fixpipe, _fixpipe
    _copy_nz = _nd2nz
