"""How benchmarks print: a heading with the machine, a table, and the project's bars."""

from __future__ import annotations

from collections.abc import Sequence

from .limits import Limits, machine


def heading(title: str, limits: Limits, threads: int) -> None:
    """What was measured and on what."""
    print(f"\n{title}\n{machine()}, {threads} threads: {limits}")
    if not limits.steady:
        print(f"DISTURBED: these limits varied by {limits.spread:.2f}x during the run; no bar is judged")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be, the first to the left and the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))


def bar(what: str, value: float | None, steady: bool, least: float | None = None, most: float | None = None) -> None:
    """One claim and whether it holds; None for a peer that was not given.

    Not judged unless ``steady``: under load engines that spin at barriers lose far more than others.
    """
    wanted = f">= {least}" if least is not None else f"<= {most}"
    if value is None:
        print(f"{what:48} not given  (bar {wanted})")
        return
    held = value >= least if least is not None else most is not None and value <= most
    verdict = ("ok" if held else "MISSED") if steady else "not judged"
    print(f"{what:48} {value:9.3g}  (bar {wanted}) {verdict}")
