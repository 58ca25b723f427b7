"""AscendC kernels on the host: compile a folder with g++ against the emulator's headers, load it, launch kernels.

``Emulator(build(folder, out)).launch("add_custom", 8, x, y, Unwritten(z), tiling)`` is all of it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dsv4c.errors import UserError

Array = np.ndarray[Any, Any]

# Kernel entries in C linkage, so that their names can be found; attributes such as __vector__ may stand between.
ENTRY = re.compile(r'extern\s+"C"[\w\s(),]*?__global__[\w\s(),]*?\bvoid\s+(\w+)\s*\(')
ON_CUBE = re.compile(r"KERNEL_TYPE_(AIC_ONLY|MIX_AIC)|__cube__|__mix__\s*\(\s*[1-9]")
ONLY_CUBE = re.compile(r"KERNEL_TYPE_AIC_ONLY|__cube__")
WORDS, FLOATS = 24, 8  # arguments that one call signature covers, as in machine/host.h


@dataclass(frozen=True)
class Profile:
    """A chip, and who inserts synchronisation: ``auto`` is the vendor compiler's default on vector cores of 2201."""

    arch: int
    auto: bool
    aic: int
    aiv: int


PROFILES = {
    "2201-manual": Profile(2201, False, 24, 48),
    "2201-auto": Profile(2201, True, 24, 48),
    "3510": Profile(3510, False, 32, 64),
}
MODES = ("clocks", "witness")


def headers() -> Path:
    """The folder to put on a kernel's include path."""
    return Path(str(files("dsv4c.targets"))) / "ascend" / "emulator"


def emulator_files() -> list[Path]:
    """The emulator's C++, as paths below ``dsv4c/targets``: Ascend's, and what all emulators share."""
    root = headers().parents[1]
    found = [p for folder in (headers(), root / "emulator") for p in folder.rglob("*") if p.suffix in (".h", ".cpp")]
    return sorted(p.relative_to(root) for p in found)


def compiler() -> str:
    """The C++ compiler; a UserError that says how to get one if there is none."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        raise UserError("g++ not found", where="the AscendC emulator", fix="apt-get install g++")
    return found


@dataclass(frozen=True)
class Library:
    """A shared object of kernels and the machine; which entries have which copies is asked of the object itself."""

    path: Path
    entries: tuple[str, ...]
    arch: int


def entries_of(source: Path) -> list[str]:
    """Names of the kernels in a file, in their order."""
    return ENTRY.findall(source.read_text(encoding="utf-8"))


def flags_of(arch: int) -> list[str]:
    """What every translation unit is compiled with."""
    # C++20 for calls such as ReduceSum<float>(tensor, ...) without AscendC::, which the device's clang takes in C++17.
    return ["-std=c++20", "-fPIC", f"-D__NPU_ARCH__={arch}", f"-I{headers()}"]


def run_compiler(command: Sequence[str], what: Path) -> None:
    """Run it; a UserError with the compiler's words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"{what.name} does not compile:\n{done.stderr}", where="the AscendC emulator")


def machine_object(arch: int, folder: Path) -> Path:
    """The machine's object file, compiled when the headers have changed since ``folder`` last held it."""
    root = headers().parents[1]
    digest = hashlib.sha256(b"".join((root / p).read_bytes() for p in emulator_files())).hexdigest()[:16]
    target = folder / f"ascend_emulator-{arch}-{digest}.o"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        source = headers() / "ascend_emulator.cpp"
        run_compiler([compiler(), *flags_of(arch), "-O1", "-c", str(source), "-o", str(part)], source)
        part.replace(target)  # another process may have made the same
    return target


def own_symbols(target: Path, names: Sequence[str], kind: str) -> None:
    """Keep what an object defines to itself, except its kernels.

    A file is compiled once per core type, with bodies that differ under the same name: the linker would take one
    instance of a template for both.
    """
    part = target.with_suffix(".part")
    run_compiler(["ld", "-r", "--force-group-allocation", str(target), "-o", str(part)], target)
    keep = [f"--keep-global-symbol={name}_{kind}" for name in names]
    run_compiler(["objcopy", *keep, str(part), str(target)], target)
    part.unlink()


def compile_kernels(target: Path, command: Sequence[str], names: Sequence[str]) -> None:
    """One object: the kernels of a file for one core type."""
    run_compiler(command, target)
    own_symbols(target, names, target.suffixes[-2].removeprefix("."))


def object_commands(source: Path, out: Path, arch: int) -> list[tuple[Path, list[str], list[str]]]:
    """One compilation per core type that the file has kernels for: its object, the command, the kernels."""
    text = source.read_text(encoding="utf-8")
    names = entries_of(source)
    only_cube = len(names) == 1 and ONLY_CUBE.search(text)
    kinds = ([] if only_cube else ["aiv"]) + (["aic"] if ON_CUBE.search(text) else [])
    commands = []
    for kind in kinds:
        target = out / f"{source.stem}-{arch}.{kind}.o"
        # Not -D on the command line: that would rename inside the emulator's own headers too.
        prelude = out / f"{source.stem}-{arch}.{kind}.h"
        renames = "".join(f"#define {name} {name}_{kind}\n" for name in names)
        prelude.write_text(f'#include "kernel_operator.h"\n{renames}')
        core = ["-DDSV4C_CORE_AIC"] if kind == "aic" else []
        command = [
            compiler(),
            *flags_of(arch),
            "-O1",
            "-include",
            str(prelude),
            *core,
            "-c",
            str(source),
            "-o",
            str(target),
        ]
        commands.append((target, command, names))
    return commands


def build(
    sources: Path | Sequence[Path], out: Path, arch: int = 2201, machine: Path | None = None, host: Path | None = None
) -> Library:
    """Compile the kernel files (a folder's ``*.cpp``, or a list) into one shared object in ``out``.

    ``machine`` is the folder where the machine's own object is kept; ``out`` unless given. ``host`` is a file of the
    host program that becomes part of it.

    Raises:
        UserError: there is no compiler, no kernel, or a file does not compile.
    """
    paths = sorted(sources.glob("*.cpp")) if isinstance(sources, Path) else list(sources)
    kernels = [p for p in paths if entries_of(p)]
    if not kernels:
        raise UserError(
            'no kernel (extern "C" __global__ __aicore__ void name(...)) in the sources', where=str(sources)
        )
    out.mkdir(parents=True, exist_ok=True)
    jobs = [job for source in kernels for job in object_commands(source, out, arch)]
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        ours = pool.submit(machine_object, arch, machine or out)
        list(pool.map(lambda job: compile_kernels(*job), jobs))
        objects = [*(target for target, _, _ in jobs), ours.result()]
    if host is not None:
        objects.append(out / f"{host.stem}-{arch}.host.o")
        run_compiler([compiler(), *flags_of(arch), "-O1", "-c", str(host), "-o", str(objects[-1])], host)
    digest = hashlib.sha256("".join(map(str, objects)).encode()).hexdigest()[:8]
    library = out / f"kernels-{arch}-{digest}.so"
    run_compiler([compiler(), "-shared", *map(str, objects), "-o", str(library)], library)
    return Library(library, tuple(name for source in kernels for name in entries_of(source)), arch)


@dataclass(frozen=True)
class Finding:
    """What the emulator found wrong: a kind, the kernel and line, a sentence, what to add, how often."""

    kind: str
    where: str
    text: str
    fix: str
    times: int

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.text}" + (f"; {self.fix}" if self.fix else "")


class EmulationError(Exception):
    """A kernel ran and the emulator found something wrong; ``findings`` has all of it."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, findings)))


@dataclass(frozen=True)
class Unwritten:
    """An array that the kernel must fill: it starts as poison, and every byte must be written."""

    array: Array


class Resident:
    """A block of the device's memory, or a part of one, that launches share."""

    def __init__(self, lib: ctypes.CDLL, address: int, nbytes: int, owner: Resident | None = None) -> None:
        self._lib, self.address, self.nbytes, self._owner = lib, address, nbytes, owner

    def part(self, offset: int, nbytes: int) -> Resident:
        """Some bytes of it."""
        assert offset >= 0 and offset + nbytes <= self.nbytes
        return Resident(self._lib, self.address + offset, nbytes, self)

    def upload(self, array: Array) -> None:
        """From the host."""
        assert array.flags.c_contiguous and array.nbytes <= self.nbytes
        if array.nbytes:
            self._lib.dsv4c_emu_upload(self.address, array.ctypes.data, array.nbytes)

    def download(self, array: Array) -> None:
        """To the host."""
        assert array.flags.c_contiguous and array.nbytes <= self.nbytes
        if array.nbytes:
            self._lib.dsv4c_emu_download(array.ctypes.data, self.address, array.nbytes)

    def __del__(self) -> None:
        if self._owner is None:
            self._lib.dsv4c_emu_free(self.address)


Argument = Array | Unwritten | Resident | int | float | np.generic | None


class Emulator:
    """A loaded library with a profile, a mode and a seed.

    ``profile``: ``2201-manual`` (all synchronisation is in the kernel), ``2201-auto`` (the compiler adds V to V and
    scalar syncs on vector cores) or ``3510``. ``mode``: ``clocks`` executes in issue order and reports races,
    ``witness`` executes in a random order that the synchronisation allows, drawn from ``seed``.
    """

    def __init__(
        self,
        library: Library,
        profile: str = "2201-manual",
        mode: str = "clocks",
        seed: int = 0,
        cores: tuple[int, int] | None = None,
    ) -> None:
        if profile not in PROFILES:
            raise UserError(
                f"there is no profile {profile!r}", where="profile", fix=f"use one of {', '.join(PROFILES)}"
            )
        if mode not in MODES:
            raise UserError(f"there is no mode {mode!r}", where="mode", fix=f"use one of {', '.join(MODES)}")
        if PROFILES[profile].arch != library.arch:
            raise UserError(
                f"{library.path.name} is compiled for {library.arch}", where=profile, fix="build for this chip"
            )
        self.library = library
        self._findings: list[Finding] = []
        self._lib = ctypes.CDLL(str(library.path))
        self._declare()
        self.configure(profile, mode, seed, cores)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lib.dsv4c_emu_clear()

    def _declare(self) -> None:
        lib, pointer, u64 = self._lib, ctypes.c_void_p, ctypes.c_uint64
        lib.dsv4c_emu_configure.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            u64,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_uint32,
        ]
        lib.dsv4c_emu_malloc.argtypes, lib.dsv4c_emu_malloc.restype = [u64, ctypes.c_char_p], pointer
        lib.dsv4c_emu_workspace.argtypes, lib.dsv4c_emu_workspace.restype = [u64], pointer
        lib.dsv4c_emu_free.argtypes = [pointer]
        lib.dsv4c_emu_upload.argtypes = [pointer, pointer, u64]
        lib.dsv4c_emu_download.argtypes = [pointer, pointer, u64]
        lib.dsv4c_emu_undefined.argtypes, lib.dsv4c_emu_undefined.restype = [pointer], ctypes.c_int64
        lib.dsv4c_emu_launch.argtypes = [ctypes.c_char_p, pointer, pointer, ctypes.c_int64, pointer, pointer]
        lib.dsv4c_emu_tiling_key.argtypes = [u64]
        for name in ("dsv4c_emu_findings_json", "dsv4c_emu_report", "dsv4c_emu_cycles"):
            getattr(lib, name).restype = ctypes.c_char_p

    def configure(
        self, profile: str, mode: str = "clocks", seed: int = 0, cores: tuple[int, int] | None = None
    ) -> None:
        """Start over with these settings; ``cores`` is (cube cores, vector cores)."""
        chosen = PROFILES[profile]
        aic, aiv = cores or (chosen.aic, chosen.aiv)
        self._lib.dsv4c_emu_configure(chosen.auto, mode == "witness", seed, aic, aiv, 0)
        self._lib.dsv4c_emu_clear()
        self._findings.clear()

    def tiling_key(self, key: int) -> None:
        """What TILING_KEY_IS compares with."""
        self._lib.dsv4c_emu_tiling_key(key)

    def launch(self, name: str, blocks: int, *arguments: Argument, check: bool = True) -> list[Finding]:
        """Run a kernel; arrays are global memory, updated in place. The findings of this launch.

        Integers pass as they are, floats as 32-bit floats.

        Raises:
            EmulationError: there are findings, and ``check`` is on.
        """
        self._lib.dsv4c_emu_clear_findings()  # equal findings of an earlier launch must not hide this one's
        call = _Call(self._lib, name, arguments)
        try:
            self._lib.dsv4c_emu_launch(
                name.encode(), self._copy(name, "aiv"), self._copy(name, "aic"), blocks, call.words, call.floats
            )
        finally:
            missing = call.fetch()
        found = self._found() + missing
        self._findings += found
        if found and check:
            raise EmulationError(found)
        return found

    def call_library(self, name: str, tensors: Sequence[Resident], sizes: Array) -> None:
        """Call the operator of the vendor's library that stands in for a kernel. Raises EmulationError for findings."""
        self._lib.dsv4c_emu_clear_findings()
        function = getattr(self._lib, f"library_{name}")
        function.argtypes, function.restype = [ctypes.c_void_p] * 3, ctypes.c_int
        pointers = (ctypes.c_uint64 * len(tensors))(*(t.address for t in tensors))
        status = function(None, pointers, sizes.ctypes.data)
        found = self._found()
        if status and not found:
            found = [Finding("library", name, f"the library's operator returns {status}", "", 1)]
        if found:
            self._findings += found
            raise EmulationError(found)

    def _found(self) -> list[Finding]:
        return [Finding(**each) for each in json.loads(self._lib.dsv4c_emu_findings_json())]

    def _copy(self, name: str, kind: str) -> int | None:
        if name not in self.library.entries:
            raise UserError(
                f"there is no kernel {name!r}",
                where=self.library.path.name,
                fix=f"it has {', '.join(self.library.entries)}",
            )
        try:
            return ctypes.cast(getattr(self._lib, f"{name}_{kind}"), ctypes.c_void_p).value
        except AttributeError:
            return None

    def resident(self, array: Array | None, nbytes: int = 0) -> Resident:
        """Memory of the device that stays: a copy of an array, or so many bytes that nothing has written."""
        size = nbytes if array is None else array.nbytes
        block = Resident(self._lib, self._lib.dsv4c_emu_malloc(max(size, 1), b"resident"), size)
        if array is not None:
            block.upload(np.ascontiguousarray(array))
        return block

    def operator_workspace(self, nbytes: int) -> Resident:
        """An operator's workspace, of which ``nbytes`` are the kernel's own, behind the system's part."""
        return Resident(self._lib, self._lib.dsv4c_emu_workspace(max(nbytes, 1)), nbytes)

    def findings(self) -> list[Finding]:
        """Everything found since ``configure``."""
        return list(self._findings)

    def cycles(self) -> list[dict[str, Any]]:
        """One row per launch: the estimate, and busy cycles of every pipe, of the busiest core and in sum."""
        rows: list[dict[str, Any]] = json.loads(self._lib.dsv4c_emu_cycles())
        return rows


class _Call:
    """The arguments of one launch in global memory and registers."""

    def __init__(self, lib: ctypes.CDLL, name: str, arguments: Sequence[Argument]) -> None:
        self._lib, self._name = lib, name
        self._arrays: list[tuple[int, int, Array, bool]] = []
        self.words = (ctypes.c_uint64 * WORDS)()
        self.floats = (ctypes.c_double * FLOATS)()
        words = floats = 0
        for index, argument in enumerate(arguments):
            if isinstance(argument, (float, np.floating)):
                ctypes.memmove(ctypes.byref(self.floats, 8 * floats), np.float32(argument).tobytes(), 4)
                floats += 1
            else:
                self.words[words] = self._word(index, argument)
                words += 1

    def _word(self, index: int, argument: Argument) -> int:
        if argument is None:
            return 0
        if isinstance(argument, Resident):
            return argument.address
        if isinstance(argument, Unwritten):
            return self._place(index, argument.array, filled=False)
        if isinstance(argument, np.ndarray):
            return self._place(index, argument, filled=True)
        return int(argument) & (1 << 64) - 1

    def _place(self, index: int, array: Array, filled: bool) -> int:
        if not array.flags.c_contiguous:
            raise UserError("an array must be contiguous", where=f"{self._name}: argument {index}")
        address: int = self._lib.dsv4c_emu_malloc(array.nbytes, f"GM argument {index}".encode())
        if filled and array.nbytes:
            self._lib.dsv4c_emu_upload(address, array.ctypes.data, array.nbytes)
        self._arrays.append((index, address, array, filled))
        return address

    def fetch(self) -> list[Finding]:
        """Copy arrays back and free them; what should have been written and was not."""
        missing = []
        for index, address, array, filled in self._arrays:
            hole = -1 if filled else self._lib.dsv4c_emu_undefined(address)
            if hole >= 0:
                text = f"byte {hole} of {array.nbytes} was never written"
                missing.append(
                    Finding("undefined", f"{self._name}: argument {index}", text, "write every element of an output", 1)
                )
            if array.flags.writeable and array.nbytes:
                self._lib.dsv4c_emu_download(array.ctypes.data, address, array.nbytes)
            self._lib.dsv4c_emu_free(address)
        self._arrays.clear()
        return missing
