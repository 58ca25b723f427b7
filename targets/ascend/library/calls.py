"""``host/library.cpp``: what the host program calls of the vendor's library instead of launching a kernel."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dsv4c.errors import UserError

from ...tile.table import TileTable
from .operators import OPERATORS, Call


@dataclass(frozen=True)
class Library:
    """Calls by kernel, and why other kernels of the ops that were asked for stay."""

    calls: Mapping[str, Call]
    kept: Mapping[str, str]


def choose(table: TileTable, ops: Collection[str]) -> Library:
    """Calls for the kernels of these ops.

    Raises UserError for an op that no library operator stands in for, or that has no kernel, or none that fits.
    """
    calls: dict[str, Call] = {}
    kept: dict[str, str] = {}
    for op in sorted(ops):
        if op not in OPERATORS:
            known = ", ".join(OPERATORS)
            raise UserError(f"no library operator stands in for {op!r}", where="--library", fix=f"use some of {known}")
        mine = sorted(name for name, (asked, _) in table.asked.items() if asked == op)
        made = {name: OPERATORS[op](table.kernels[name].physical, table.asked[name][1]) for name in mine}
        calls |= {name: call for name, call in made.items() if isinstance(call, Call)}
        reasons = {name: why for name, why in made.items() if isinstance(why, str)}
        kept |= reasons
        if len(reasons) == len(mine):
            why = "; ".join(sorted(set(reasons.values()))) or "this model has no such kernel"
            raise UserError(f"{op}: {why}", where="--library", fix="leave it out")
    return Library(calls, kept)


def library_source(library: Library, sizes: Mapping[str, tuple[str, ...]]) -> str:
    """The file; ``sizes`` are the names of each kernel's."""
    headers = sorted({call.header for call in library.calls.values()})
    lines = ['#include "library.h"', "", *(f'#include "aclnnop/{header}"' for header in headers)]
    for name, call in sorted(library.calls.items()):
        lines += [
            "",
            f"// {name}",
            f'extern "C" aclError library_{name}(aclrtStream stream, uint8_t** a, const int64_t* s) {{',
            *(f"    [[maybe_unused]] const int64_t {size} = s[{i}];" for i, size in enumerate(sizes[name])),
            *(f"    const library::Tensor {key}{text};" for key, text in call.operands.items()),
            "    uint64_t size = 0;",
            "    aclOpExecutor* executor = nullptr;",
            f"    const aclnnStatus prepared = {call.name}GetWorkspaceSize({call.arguments}, &size, &executor);",
            f"    return library::run(prepared, {call.name}, size, executor, stream);",
            "}",
        ]
    return "\n".join(lines) + "\n"
