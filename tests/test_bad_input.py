"""Input that cannot work, through the real command line.

Each case ends in exit code 2, one line on stderr that names the place and what would work, an empty stdout, and a file
system as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from checks import environment

from dsv4c.artefact import MANIFEST, SCHEMA, seal
from dsv4c.cli import main

TINY = Path(__file__).resolve().parents[1] / "examples" / "tiny-v4"
TINY_CONTEXT = 200  # --max-context of the fixture tiny_artefact
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
OUT = "made/out"  # neither folder exists
REMOVED = object()
Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused; gives its line. ``parts`` are what the line must say."""

    def run(words: str | list[str], *parts: str) -> str:
        words = words.split() if isinstance(words, str) else words
        before = files_below(here)
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("dsv4c: ") and err.endswith("\n") and err.count("\n") == 1
        assert [part for part in parts if part not in err] == [], err
        assert files_below(here) == before
        return err

    return run


def files_below(folder: Path) -> dict[str, str]:
    """Every folder, and every file with its hash."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


def compile_words(spec: str, *more: str) -> list[str]:
    return ["compile", spec, "--target", "cpu", "-o", OUT, *more]


# The command line itself


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("frobnicate", ["No such command 'frobnicate'", "see dsv4c --help"]),
        ("--frobnicate", ["No such option", "see dsv4c --help"]),
        ("models --frobnicate", ["models: No such option", "see dsv4c models --help"]),
        ("models extra", ["models: Got unexpected extra argument (extra)"]),
        ("inspect", ["inspect: Missing argument 'SPEC'", "see dsv4c inspect --help"]),
        ("inspect deepseek-v3 --context many", ["--context", "'many' is not a valid integer"]),
        ("inspect deepseek-v3 --context 0", ["--context: a context of 0 tokens; use 1 to 2147483647"]),
        (f"inspect deepseek-v3 --context {10**20}", [f"--context: a context of {10**20} tokens; use 1 to 2147483647"]),
        ("compile", ["compile: Missing argument 'SPEC'"]),
        ("compile deepseek-v3 -o x", ["Missing option '--target'"]),
        ("compile deepseek-v3 --target cpu", ["Missing option '-o'"]),
        ("compile deepseek-v3 --target cpu -o x --dtype f64", ["--dtype", "'f64' is not one of 'f32', 'bf16'"]),
        ("compile deepseek-v3 --target cpu -o x --max-context x", ["--max-context", "not a valid integer"]),
        ("run", ["run: Missing argument 'ARTEFACT'"]),
        ("run x", ["run: give one of --tokens and --tokens-file"]),
        ("run x --tokens 1 --tokens-file y", ["run: give one of --tokens and --tokens-file"]),
        ("run x --tokens", ["--tokens' requires an argument"]),
        ("run x --tokens 1 --threads 0", ["--threads", "0 is not in the range"]),
        ("run x --tokens 1 --new few", ["--new", "'few' is not a valid integer"]),
        ("verify", ["verify: Missing argument"]),
        ("print", ["print: Missing argument"]),
        ("parse", ["parse: Missing argument"]),
        ("export deepseek-v3", ["export: Missing argument 'FILE.onnx'"]),
    ],
)
def test_words(refused: Refused, words: str, parts: list[str]) -> None:
    refused(words, *parts)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("inspect nowhere", ["nowhere: there is no such folder or preset", "deepseek-v4-pro"]),
        (f"compile nowhere --target cpu -o {OUT}", ["nowhere: there is no such folder or preset", "deepseek-v4-pro"]),
        ("export nowhere m.onnx", ["nowhere: there is no such folder or preset", "deepseek-v4-pro"]),
        ("run nowhere --tokens 1", ["nowhere: there is no such folder", "dsv4c compile"]),
        ("verify nowhere", ["nowhere: there is no such folder", "dsv4c compile"]),
        ("print nowhere", ["nowhere: cannot read the file: No such file", "module.dsir"]),
        ("parse nowhere", ["nowhere: cannot read the file: No such file", "module.dsir"]),
        ("parse .", [".: cannot read the file: Is a directory", "module.dsir"]),
        ("print .", [".: is not an artefact", "dsv4c compile"]),
        ("run . --tokens 1", [".: is not an artefact", "dsv4c compile"]),
        ("run nowhere --tokens-file no.json", ["no.json: cannot read the file: No such file", "[[1, 2, 3], [4, 5]]"]),
        (f"compile deepseek-v3 --target cpu -o {OUT}", ["deepseek-v3: a released config has no weights"]),
        ("export deepseek-v3 m.onnx", ["deepseek-v3: a released config has no weights", "--no-weights"]),
        (
            f"compile deepseek-v3 --target abacus -o {OUT}",
            ["--target: there is no target 'abacus'; use one of ascend:910b", " cpu"],
        ),
        (
            f"compile deepseek-v3 --target cpu --no-weights -o {OUT} --max-context 999999",
            ["--max-context: 999999 tokens; the model takes 1 to 163840"],
        ),
        (f"compile deepseek-v3 --target cpu --no-weights -o {OUT} --max-context 0", ["--max-context: 0 tokens"]),
    ],
)
def test_names_that_lead_nowhere(refused: Refused, words: str, parts: list[str]) -> None:
    refused(words, *parts)


def test_with_json_the_line_goes_to_stderr_all_the_same(refused: Refused) -> None:
    assert refused("inspect nowhere --json") == refused("inspect nowhere")


def test_line_breaks_and_escape_sequences_in_names_are_shown_not_obeyed(refused: Refused) -> None:
    refused(["inspect", "a\nb\x1b[31m"], "a\\nb\\x1b[31m: there is no such folder")


# config.json


def config_folder(here: Path, changes: Mapping[str, object]) -> str:
    """A folder with the demo's weights and a changed config."""
    folder = here / "model"
    folder.mkdir()
    config = {**json.loads((TINY / "config.json").read_text()), **changes}
    kept = {name: value for name, value in config.items() if value is not REMOVED}
    (folder / "config.json").write_text(json.dumps(kept))
    (folder / SINGLE).symlink_to(TINY / SINGLE)
    return "model"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"model_type": "llama"}, ["config.json:model_type: 'llama' is not supported", "deepseek_v4"]),
        ({"model_type": REMOVED}, ["config.json:model_type: the field is missing"]),
        ({"hidden_size": REMOVED}, ["config.json:hidden_size: the field is missing; it must be an integer"]),
        ({"num_hidden_layers": -5}, ["config.json:num_hidden_layers: -5 is too small; it must be at least 1"]),
        ({"hidden_size": "64"}, ["config.json:hidden_size: '64' is not an integer"]),
        ({"hidden_size": 64.0}, ["config.json:hidden_size: 64.0 is not an integer"]),
        ({"layer_types": "csa"}, ["config.json:layer_types: 'csa' is not a list"]),
        ({"rms_norm_eps": -1.0}, ["config.json:rms_norm_eps: -1.0", "greater than 0"]),
        ({"o_groups": 3}, ["config.json:", "o_groups 3", "not divisible"]),
        ({"num_experts_per_tok": 9}, ["config.json:num_experts_per_tok", "8"]),
        (
            {"qk_rope_head_dim": 7},
            ["config.json:qk_rope_head_dim: a rotary width of 7 is odd; channels are rotated in pairs"],
        ),
        (
            {"qk_rope_head_dim": REMOVED, "partial_rotary_factor": 7 / 32},
            ["config.json:partial_rotary_factor: a rotary width of 7 is odd"],
        ),
        (
            {"qk_rope_head_dim": REMOVED, "partial_rotary_factor": REMOVED, "head_dim": 24, "rope_parameters": {}},
            ["config.json:head_dim: a rotary width of 3 is odd"],
        ),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "compile"])
def test_config(refused: Refused, here: Path, command: str, changes: dict[str, object], parts: list[str]) -> None:
    spec = config_folder(here, changes)
    refused(["inspect", spec] if command == "inspect" else compile_words(spec), *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b'{"model_type": "deepseek_v4", "hidden_', ["config.json:1:", "not valid JSON", "cut off"]),
        (b'{"model_type": "deepseek_v4", ', ["config.json:1:", "not valid JSON", "cut off"]),
        (b"", ["config.json:1:1: not valid JSON", "cut off"]),
        (b"[1]", ["config.json: not a JSON object"]),
        (b'{"model_type": "\xff"}', ["config.json: not a text file: byte 16 is not UTF-8"]),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", ["config.json: not usable JSON"]),
        (b"[" * 200_000, ["config.json: nested too deeply"]),
    ],
)
def test_config_that_is_no_json(refused: Refused, here: Path, text: bytes, parts: list[str]) -> None:
    config_folder(here, {})
    (here / "model" / "config.json").write_bytes(text)
    refused(compile_words("model"), *parts)
    refused("inspect model", *parts)


def test_folder_without_config(refused: Refused) -> None:
    Path("empty").mkdir()
    refused(compile_words("empty"), "empty/config.json: cannot read the file: No such file")
    refused("inspect empty", "empty/config.json: cannot read the file: No such file")


# safetensors


def read_safetensors() -> tuple[dict[str, Any], bytes]:
    raw = (TINY / SINGLE).read_bytes()
    start = 8 + struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8:start]), raw[start:]


def write_safetensors(path: Path, header: Mapping[str, Any], data: bytes, length: int | None = None) -> None:
    """``length`` is what the file claims of its header."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


@pytest.fixture
def single(here: Path) -> Path:
    """The weights of a copied demo, to be broken."""
    shutil.copytree(TINY, here / "model")
    return here / "model" / SINGLE


def overlap(header: dict[str, Any]) -> None:
    first, second = sorted((k for k in header if k != "__metadata__"), key=lambda k: header[k]["data_offsets"])[:2]
    begin, end = header[second]["data_offsets"]
    size = header[first]["data_offsets"][1]
    header[second]["data_offsets"] = [begin - size // 2, end - size // 2]


def reshape(header: dict[str, Any]) -> None:
    entry = header["model.embed_tokens.weight"]
    entry["shape"] = entry["shape"][::-1]


def retype(header: dict[str, Any]) -> None:
    header["model.embed_tokens.weight"]["dtype"] = "I32"


def rename(header: dict[str, Any]) -> None:
    header["model.embed_token.weight"] = header.pop("model.embed_tokens.weight")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (overlap, ["model.safetensors: tensors overlap or leave a gap"]),
        (reshape, ["1 tensor of the wrong shape: model.embed_tokens.weight is [64, 128], expected [128, 64]"]),
        (retype, ["1 tensor of the wrong dtype: model.embed_tokens.weight is I32, expected F32 or BF16 or F16"]),
        (rename, ["1 tensor missing: model.embed_tokens.weight; 1 tensor not part of the model: model.emb"]),
    ],
)
@pytest.mark.parametrize("command", ["compile", "export"])
def test_header(
    refused: Refused, single: Path, command: str, change: Callable[[dict[str, Any]], None], parts: list[str]
) -> None:
    header, data = read_safetensors()
    change(header)
    write_safetensors(single, header, data)
    words = compile_words("model") if command == "compile" else ["export", "model", "m.onnx"]
    refused(words, "model/model.safetensors", *parts)


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, ["the header is cut off", "download the file again"]),
        (5, ["the header is cut off: the file is shorter than 8 bytes", "download the file again"]),
        (100, ["the header is cut off: it claims more bytes than the file has", "download the file again"]),
        (-10, ["the header describes", "bytes of tensors, but the file has", "download the file again"]),
    ],
)
def test_file_that_is_cut_off(refused: Refused, single: Path, size: int, parts: list[str]) -> None:
    single.write_bytes(single.read_bytes()[:size])
    refused(compile_words("model"), "model/model.safetensors: ", *parts)


def test_header_that_claims_too_much(refused: Refused, single: Path) -> None:
    header, data = read_safetensors()
    write_safetensors(single, header, data, length=2**62)
    refused(compile_words("model"), "model/model.safetensors: not a safetensors file: it claims a header of more than")


def test_shard_missing(refused: Refused, single: Path) -> None:
    header, _ = read_safetensors()
    names = [name for name in header if name != "__metadata__"]
    single.rename(single.with_name("a.safetensors"))
    table = {name: "b.safetensors" if "layers.3" in name else "a.safetensors" for name in names}
    (single.parent / INDEX).write_text(json.dumps({"weight_map": table}))
    refused(compile_words("model"), f"model/{INDEX}: 1 shard of 2 missing: b.safetensors", "download the rest")


def test_index_that_leads_elsewhere(refused: Refused, single: Path) -> None:
    single.unlink()
    (single.parent / INDEX).write_text(json.dumps({"weight_map": {"x": "../secret.safetensors"}}))
    refused(compile_words("model"), f"model/{INDEX}:weight_map: '../secret.safetensors' is outside of the folder")


def test_weights_missing_or_pickled(refused: Refused, single: Path) -> None:
    single.unlink()
    refused(compile_words("model"), "model: no weights: neither model.safetensors nor")
    (single.parent / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refused(compile_words("model"), "model: weights only as pickled files", "save_pretrained")


# Where output goes


def test_output_exists(refused: Refused, here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("years of work")
    words = ["compile", str(TINY), "--target", "cpu", "-o", "full"]
    refused(words, "full: exists already; use --force to replace it")
    refused([*words, "--force"], "full: exists and is not an artefact", "choose another folder")
    refused(["compile", str(TINY), "--target", "cpu", "-o", "full/thesis.txt", "--force"], "is not an artefact")
    refused(["export", str(TINY), "full/thesis.txt"], "full/thesis.txt: exists already; use --force to replace it")
    (here / "m.onnx.data").write_text("other")
    refused(["export", str(TINY), "m.onnx"], "m.onnx.data: exists already; use --force to replace it")


def test_artefact_exists(refused: Refused, copy: Path) -> None:
    words = ["compile", str(TINY), "--target", "cpu", "-o", str(copy)]
    refused(words, f"{copy}: exists already; use --force to replace it")


def test_output_is_not_writable(refused: Refused, here: Path) -> None:
    # Below a regular file not even root can write.
    (here / "file").write_text("")
    words = ["compile", str(TINY), "--target", "cpu", "-o"]
    refused([*words, "file/out"], "file: cannot write here", "choose another folder")
    refused([*words, "/proc/out"], "/proc: cannot write here", "choose another folder")
    words = ["export", str(TINY)]
    refused([*words, "file/m.onnx"], "file: cannot write here: Not a directory", "choose an existing folder")
    refused([*words, "no/m.onnx"], "no: cannot write here: No such file", "choose an existing folder")
    refused([*words, "."], ".: is a folder; give the name of a file")


@pytest.mark.parametrize("folder", ["/proc/dsv4c/out", "/proc/out"])
def test_output_folder_that_cannot_be_made(refused: Refused, folder: str) -> None:
    # Not even root may make folders there, so this holds for every user.
    refused(["compile", str(TINY), "--target", "cpu", "-o", folder], "cannot write here", "choose another folder")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pipe", "is a pipe, a device or a socket"),
        ("link-to-pipe", "is a pipe, a device or a socket"),
        ("/dev/full", "is a pipe, a device or a socket"),
        ("circle", "is a link that leads in a circle"),
    ],
)
@pytest.mark.parametrize("option", ["--logits", "export"])
def test_output_is_no_regular_file(
    refused: Refused, here: Path, tiny_artefact: Path, option: str, name: str, what: str
) -> None:
    os.mkfifo(here / "pipe")
    (here / "link-to-pipe").symlink_to("pipe")
    (here / "circle").symlink_to("circle")
    run = ["run", str(tiny_artefact), "--tokens", "1", "--logits", name]
    refused(run if option == "--logits" else ["export", str(TINY), name, "--force"], f"{name}: {what}; give the name")
    assert (here / "pipe").is_fifo() and (here / "link-to-pipe").is_symlink() and Path("/dev/full").is_char_device()


def test_weights_beside_an_export_are_no_regular_file(refused: Refused, here: Path) -> None:
    os.mkfifo(here / "m.onnx.data")
    refused(["export", str(TINY), "m.onnx", "--force"], "m.onnx.data: is a pipe, a device or a socket")


def test_compile_that_fails_half_way(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsv4c.driver import compile as driver
    from dsv4c.errors import UserError

    def fail(*_: object, **__: object) -> None:
        raise UserError("did not fit", where="layers.0")

    monkeypatch.setattr(driver, "build_module", fail)
    refused(["compile", str(TINY), "--target", "cpu", "-o", "out"], "layers.0: did not fit")


# Running


@pytest.fixture
def copy(here: Path, tiny_artefact: Path) -> Path:
    """The compiled demo, to be broken."""
    shutil.copytree(tiny_artefact, here / "copy")
    return here / "copy"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--tokens 1,128", ["--tokens: token 128 at position 1 is outside the vocabulary; use ids from 0 to 127"]),
        ("--tokens -1", ["--tokens: token -1 at position 0 is outside the vocabulary; use ids from 0 to 127"]),
        ("--tokens 1,x", ["--tokens: 'x' at position 1 is not a token id", "such as 1,2,3"]),
        ("--tokens 1,,2", ["--tokens: '' at position 1 is not a token id"]),
        ("--tokens 1.5", ["--tokens: '1.5' at position 0 is not a token id"]),
        ("--tokens 1_0", ["--tokens: '1_0' at position 0 is not a token id"]),
        (f"--tokens {'9' * 5000}", ["--tokens: '9999", "at position 0 is not a token id"]),
        ("--tokens=", ["--tokens: the prompt is empty; give at least one token id"]),
        ("--tokens 1 --new 0", ["--new: cannot generate 0 tokens; use 1 or more"]),
        (
            f"--tokens 1,2 --new {TINY_CONTEXT - 1}",
            [f"--tokens: 2 prompt tokens and {TINY_CONTEXT - 1} new ones exceed the context of {TINY_CONTEXT}",
             "--max-context"],
        ),
        ("--tokens 1 --logits no/l.npy", ["no: cannot write here: No such file", "choose an existing folder"]),
        ("--tokens 1 --logits .", [".: is a folder; give the name of a file"]),
        ("--tokens 999 --logits l.npy", ["token 999 at position 0 is outside the vocabulary"]),
    ],
)  # fmt: skip
def test_prompts(refused: Refused, tiny_artefact: Path, words: str, parts: list[str]) -> None:
    refused(["run", str(tiny_artefact), *words.split()], *parts)


@pytest.mark.parametrize("command", ["run artefact --tokens 1", "verify artefact"])
def test_more_threads_than_cpus(refused: Refused, here: Path, tiny_artefact: Path, command: str) -> None:
    (here / "artefact").symlink_to(tiny_artefact)
    cpus = len(os.sched_getaffinity(0))
    line = f"--threads: {cpus + 1} threads, but this process may use {cpus} CPUs; use 1 to {cpus}"
    refused(f"{command} --threads {cpus + 1}", line)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"[[1, 2], [3", ["batch.json: not valid JSON", "[[1, 2, 3], [4, 5]]"]),
        (b"", ["batch.json: not valid JSON"]),
        (b"\xff", ["batch.json: not valid JSON"]),
        (b"[" * 200_000, ["batch.json: nested too deeply"]),
        (b"[[" + b"1" * 5000 + b"]]", ["batch.json: not valid JSON: Exceeds the limit"]),
        (b'{"tokens": [1]}', ["batch.json: {'tokens': [1]} is not a list"]),
        (b"[1, 2, 3]", ["batch.json: sequence 1: 1 is not a list", "[[1, 2, 3], [4, 5]]"]),
        (b'[[1], [2, "3"]]', ["batch.json: sequence 2: '3' at position 1 is not a token id"]),
        (b"[[1.0]]", ["batch.json: sequence 1: 1.0 at position 0 is not a token id"]),
        (b"[[true]]", ["batch.json: sequence 1: True at position 0 is not a token id"]),
        (b"[]", ["batch.json: there is no prompt"]),
        (b"[[1], []]", ["batch.json: sequence 2: the prompt is empty"]),
        (b"[[1], [2, 128]]", ["batch.json: sequence 2: token 128 at position 1 is outside the vocabulary"]),
        (b"[[1], [%s]]" % b", ".join([b"1"] * TINY_CONTEXT), ["batch.json: sequence 2: 200 prompt tokens and 16 new"]),
    ],
)
def test_tokens_file(refused: Refused, here: Path, tiny_artefact: Path, text: bytes, parts: list[str]) -> None:
    (here / "batch.json").write_bytes(text)
    refused(["run", str(tiny_artefact), "--tokens-file", "batch.json"], *parts)


# Artefacts


def edit_manifest(copy: Path, **changes: object) -> None:
    path = copy / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("command", ["run copy --tokens 1", "verify copy", "print copy"])
def test_artefact_of_another_version(refused: Refused, copy: Path, command: str) -> None:
    edit_manifest(copy, schema=SCHEMA + 1)
    refused(command, f"copy/manifest.json: has schema version {SCHEMA + 1}; this dsv4c reads {SCHEMA}; compile again")


@pytest.mark.parametrize("name", ["kernels.so", "plan.json", "weights.bin", "module.dsir"])
def test_artefact_with_a_changed_file(refused: Refused, copy: Path, name: str) -> None:
    raw = bytearray((copy / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / name).write_bytes(raw)
    for command in ("run copy --tokens 1", "verify copy", "print copy"):
        refused(command, f"copy/{name}: was changed after the compile (its hash differs); compile again")
    (copy / name).unlink()
    refused("run copy --tokens 1", f"copy/{name}: is missing from the artefact; compile again")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"", ["is not a manifest"]),
        (b"{}", ["is not a manifest: it states no schema version"]),
        (b"[]", ["is not a manifest: it states no schema version"]),
        (b"\xff", ["is not a manifest"]),
        (b"[" * 200_000, ["is not a manifest"]),
        (b'{"schema": %d}' % SCHEMA, ["was changed after the compile"]),
    ],
)
def test_artefact_with_a_broken_manifest(refused: Refused, copy: Path, text: bytes, parts: list[str]) -> None:
    (copy / MANIFEST).write_bytes(text)
    refused("run copy --tokens 1", "copy/manifest.json: ", *parts, "compile again")


def test_artefact_with_a_changed_manifest(refused: Refused, copy: Path) -> None:
    model = json.loads((copy / MANIFEST).read_text())["model"]
    edit_manifest(copy, model={**model, "max_context": 10**9})
    refused("run copy --tokens 1", "copy/manifest.json: was changed after the compile (its hash differs)")


def reseal(copy: Path, **changes: object) -> None:
    """Write a manifest with these changes and the hashes of what is there."""
    manifest = {**json.loads((copy / MANIFEST).read_text()), **changes}
    (copy / MANIFEST).unlink()
    seal(copy, {key: value for key, value in manifest.items() if key not in ("schema", "files", "sha256")})


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("plan.json", b"{}", "copy/plan.json: is not a plan: 'functions' is missing; compile again"),
        ("plan.json", b"[]", "copy/plan.json: is not a plan: something in it"),
        ("plan.json", b"{", "copy/plan.json: is not a plan: Expecting property name"),
        ("plan.json", b'{"functions": [], "entries": [], "derived": {}}', "copy/plan.json: has no entry; compile"),
        ("weights.bin", b"", "copy/weights.bin: weight embed is not where the manifest says; compile again"),
        ("kernels.so", b"junk", "copy/kernels.so: is no library of kernels; compile again"),
    ],
)
@pytest.mark.parametrize("command", ["run copy --tokens 1", "verify copy"])
def test_artefact_made_of_parts_that_cannot_be(
    refused: Refused, copy: Path, command: str, name: str, content: bytes, part: str
) -> None:
    """The hashes are right, so that only the content can tell."""
    (copy / name).write_bytes(content)
    reseal(copy)
    refused(command, part)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("module.dsir", b"junk", "copy/module.dsir:1:1: unexpected 'junk'; expected 'module'"),
        ("module.dsir", b"\xff", "copy/module.dsir: not a text file"),
        (
            "module.dsir", b"module m entry f\nfunc f(%x: f32[N]) {\n  return %x\n}\n",
            "copy/module.dsir: has no function attention_window, which the plan has; compile again",
        ),
        ("vectors/logits.npy", b"", "copy/vectors/logits.npy: is not a test vector"),
    ],
)  # fmt: skip
def test_artefact_whose_proof_cannot_be_read(
    refused: Refused, copy: Path, name: str, content: bytes, part: str
) -> None:
    (copy / name).write_bytes(content)
    reseal(copy)
    refused("verify copy", part)


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("model", {}, "copy/manifest.json: is not a manifest: model.name is missing or of the wrong type"),
        ("target", "cpu", "copy/manifest.json: is not a manifest: target.name is missing"),
        ("target", {"name": "cpu", "facts": {}}, "copy: does not say which CPU features it needs"),
        ("weights", {}, "copy/manifest.json: weight embed of the plan is not in the index"),
        ("state", {}, "copy: its parts do not fit together: state has no layers.0.window; compile again"),
    ],
)
def test_artefact_with_a_manifest_that_cannot_be(
    refused: Refused, copy: Path, field: str, value: object, part: str
) -> None:
    reseal(copy, **{field: value})
    refused("run copy --tokens 1", part)


@pytest.mark.parametrize("command", ["run copy --tokens 1,2", "verify copy"])
def test_artefact_with_a_plan_of_other_kernels(refused: Refused, copy: Path, command: str) -> None:
    plan = json.loads((copy / "plan.json").read_text())
    step = next(step for step in plan["functions"][0]["steps"] if "launch" in step)
    step["launch"] = "nope"
    (copy / "plan.json").write_text(json.dumps(plan))
    reseal(copy)
    refused(command, "copy: its parts do not fit together: kernels.so has no kernel nope; compile again")


def test_artefact_without_weights(refused: Refused, copy: Path) -> None:
    (copy / "weights.bin").unlink()
    reseal(copy)
    refused("run copy --tokens 1", "copy: was compiled with --no-weights; compile the checkpoint with weights")


@pytest.mark.parametrize("command", ["run copy --tokens 1", "verify copy"])
def test_artefact_for_another_cpu(refused: Refused, copy: Path, command: str) -> None:
    target = json.loads((copy / MANIFEST).read_text())["target"]
    target["facts"]["features"].append("avx9000")
    reseal(copy, target=target)
    refused(command, "copy: needs a CPU with avx9000, which this one lacks; compile the model on this machine")


def test_artefact_for_an_unknown_target(refused: Refused, copy: Path) -> None:
    reseal(copy, target={"name": "abacus", "facts": {}})
    refused("run copy --tokens 1", "there is no target 'abacus'; use one of ascend:910b", " cpu")


# Text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"module m entry f\nfunc f(%x: f32[N]) {\n  return %y\n}\n", ["m.dsir:3:10: unknown value %y"]),
        (b"module m entry f\nfunc f(%x: f32[N]) {\n  %0: f32[N] = epx(%x)\n  return %0\n}\n", ["m.dsir:3:", "exp"]),
        (b"module m entry g\nfunc f(%x: f32[N]) {\n  return %x\n}\n", ["m.dsir:1:16: there is no function g"]),
        (b"module m entry f\nfunc f(%x: f99[N]) {\n  return %x\n}\n", ["m.dsir:2:", "unknown dtype f99; use one of"]),
        (
            b"module m entry f\nfunc f(%x: bool[N]) {\n  %0: bool[N] = exp(%x)\n  return %0\n}\n",
            ["m.dsir:3:", ": f: exp: does not work on bool"],
        ),
        (b"module m entry f\nfunc f(", ["m.dsir:2:8: the text ends here; expected"]),
        (b"", ["m.dsir:1:1: the text ends here; expected"]),
        (b"\xff", ["m.dsir: not a text file"]),
    ],
)
@pytest.mark.parametrize("command", ["print", "parse"])
def test_text(refused: Refused, here: Path, command: str, text: bytes, parts: list[str]) -> None:
    (here / "m.dsir").write_bytes(text)
    refused(f"{command} m.dsir", *parts)


def test_the_process_ends_with_the_same_line(here: Path) -> None:
    command = [sys.executable, "-m", "dsv4c", "compile", "nowhere", "--target", "cpu", "-o", "out", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here, check=False, env=environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dsv4c: nowhere: there is no such folder or preset; ")
    assert done.stderr.count("\n") == 1
    assert files_below(here) == {}
