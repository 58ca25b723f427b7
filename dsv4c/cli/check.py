"""``dsv4c check``: whether a chip can execute a kernel's tile program, as it may have been edited."""

from __future__ import annotations

from pathlib import Path

import click

from dsv4c.errors import UserError

from .common import echo, emit_json, json_option, show_table, whole_file


@click.command("check")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE.tile")
@click.option("--chip", metavar="NAME", help="Instead of the file's own; dsv4c targets lists them.")
@click.option(
    "--spell", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the kernel's AscendC here."
)
@json_option
def check_command(path: Path, chip: str | None, folder: Path | None, as_json: bool) -> None:
    """Verify a kernel's tile programs by the rules of a chip.

    The file is a kernel's .tile of an artefact, perhaps edited by hand: what it does, and below what a chip executes
    for it. Where only the first is there, the second is made. Memory that is used is shown.
    """
    from dsv4c.driver.tiles import check_kernel

    checked = check_kernel(path, chip)
    if folder is not None:
        if not folder.is_dir():
            raise UserError("there is no such folder", where=str(folder), fix="choose an existing folder")
        texts = {f"{checked.name}.cpp": checked.spelled.kernel, f"{checked.name}_tiling.h": checked.spelled.tiling}
        for name, text in texts.items():
            with whole_file(folder / name) as file:
                file.write(text.encode())
    if as_json:
        memories = [
            {"core": core, "memory": memory, "used": used, "capacity": room}
            for core, memory, used, room in checked.memories
        ]  # fmt: skip
        emit_json({
            "kernel": checked.name, "chip": checked.chip, "made": checked.made, "memories": memories,
            "workspace": checked.workspace,
        })  # fmt: skip
        return
    how = "made physical, and legal" if checked.made else "legal"
    echo(f"{checked.name}: {how} on {checked.chip}")
    show_table(
        ("core", "memory", "bytes used", "of", "%"),
        [(core, memory, used, room, round(100 * used / room)) for core, memory, used, room in checked.memories],
    )
    if checked.workspace:
        echo(f"global memory of each group of cores: {checked.workspace:,} bytes")
