"""Every command of the command line: what it prints, and with --json exactly one object."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from dsv4c import cli as cli_module
from dsv4c.cli import main
from dsv4c.cli.common import progress_line, whole_file

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "examples" / "tiny-v4"
GOLDEN = json.loads((TINY / "tokens.json").read_text())
PROMPT = ",".join(map(str, GOLDEN["prompt"]))
COMMANDS = [
    "bisect", "check", "compile", "conformance", "cycles", "export", "inspect", "models", "ops", "opt", "parse",
    "passes", "print", "reduce", "run", "targets", "tune", "vectors", "verify",
]  # fmt: skip
RUN_MAIN = "import sys; from dsv4c.cli import main; sys.exit(main())"
Json = Callable[..., Any]
Run = Callable[..., str]


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that works; its stdout. Nothing may be on stderr, which is no terminal."""

    def run(*words: object, code: int = 0) -> str:
        assert main(list(map(str, words))) == code
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


@pytest.fixture
def answer(text: Run) -> Json:
    """The same with --json: the one object on stdout."""

    def run(*words: object, code: int = 0) -> Any:
        out = text(*words, "--json", code=code)
        assert out.endswith("\n") and out.count("\n") == 1
        data = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert isinstance(data, dict)
        return data

    return run


def process(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dsv4c", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


# Help


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_lists_the_commands(text: Run, words: list[str]) -> None:
    out = text(*words)
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert "..." not in out.partition("Commands:")[2]  # short enough for one line each


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_json(text: Run, name: str) -> None:
    assert "--json" in text(name, "--help")


def test_version(text: Run) -> None:
    assert text("--version").startswith("dsv4c ")


def test_light_commands_do_not_import_the_compiler() -> None:
    code = """if True:
        import sys
        from dsv4c.cli import main
        main(["--help"]), main(["models"]), main(["inspect", "deepseek-v3"])
        heavy = {"tvm", "onnx", "lark", "torch"} & set(sys.modules)
        assert not heavy, heavy
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_help_is_fast() -> None:
    def once() -> float:
        start = perf_counter()
        assert process("--help").returncode == 0
        return perf_counter() - start

    assert min(once() for _ in range(3)) < 1.0  # 0.2 s on an idle machine


# Tables


def test_models(answer: Json, text: Run) -> None:
    models = {model["name"]: model for model in answer("models")["models"]}
    assert list(models) == ["deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "deepseek-v4-pro"]
    pro = models["deepseek-v4-pro"]
    assert set(pro) == {"name", "family", "layers", "layer_kinds", "parameters", "max_positions"}
    assert pro["max_positions"] == 1048576 and sum(kind["count"] for kind in pro["layer_kinds"]) == pro["layers"]
    out = text("models")
    assert "deepseek-v3.2" in out and f"{pro['parameters']['total']:,}" in out


def test_targets(answer: Json, text: Run) -> None:
    targets = {target["name"]: target["doc"] for target in answer("targets")["targets"]}
    assert targets["cpu"] and targets["cpu"] in text("targets")


def test_ops(answer: Json, text: Run) -> None:
    ops = {op["name"]: op for op in answer("ops")["ops"]}
    assert set(ops["topk"]) == {"name", "tier", "kind", "attributes", "doc"}
    assert list(ops["topk"]["attributes"]) == ["k"] and ops["add"]["kind"] == "elementwise"
    out = text("ops")
    assert all(op["doc"] in out for op in ops.values())  # brackets in a doc are text, not markup
    assert all(line == line.rstrip() for line in out.splitlines())


# Inspect


def test_inspect_preset(answer: Json, text: Run) -> None:
    report = answer("inspect", "deepseek-v4-pro", "--context", 1000)
    assert (report["model"], report["context"], report["layers"]) == ("deepseek-v4-pro", 1000, 61)
    out = text("inspect", "deepseek-v4-pro", "--context", 1000)
    assert "1,000 tokens" in out and f"{report['parameters']['active']:,}" in out


def test_inspect_reads_no_weights(answer: Json, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes((TINY / "config.json").read_bytes())
    reports = [answer("inspect", place) for place in (tmp_path, path, TINY)]
    assert {report.pop("model") for report in reports} == {str(tmp_path), str(path), str(TINY)}
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["context"] == 256  # what the model takes


# Compile and run


def test_compile_says_what_it_made(tiny_artefact: Path) -> None:
    out = (tiny_artefact.parent / "compile.json").read_text()
    assert out.count("\n") == 1
    made = json.loads(out)
    assert made["artefact"] == str(tiny_artefact) and made["target"] == "cpu" and made["dtype"] == "f32"
    assert made["model"] == "deepseek_v4"  # the family: a folder's name is no property of the model
    assert made["weights_bytes"] == (tiny_artefact / "weights.bin").stat().st_size
    assert 0 < made["kernels"] < made["launches_per_step"] and made["seconds"] > 0
    assert sorted(p.name for p in tiny_artefact.parent.iterdir()) == ["compile.json", "out"]


def test_run_gives_the_tokens_of_transformers(answer: Json, text: Run, tiny_artefact: Path) -> None:
    out = answer("run", tiny_artefact, "--tokens", PROMPT, "--new", len(GOLDEN["new"]))
    assert out["tokens"] == [GOLDEN["new"]]
    assert set(out) == {"tokens", "threads", "seconds"} and out["threads"] == len(os.sched_getaffinity(0))
    assert text("run", tiny_artefact, "--tokens", PROMPT) == ",".join(map(str, GOLDEN["new"][:16])) + "\n"


def test_run_batch_of_different_lengths(answer: Json, text: Run, tiny_artefact: Path, tmp_path: Path) -> None:
    batch, file = tmp_path / "batch.json", tmp_path / "logits.npy"
    prompts = [GOLDEN["prompt"][:5], GOLDEN["prompt"], [7]]
    batch.write_text(json.dumps(prompts))
    words = ("run", tiny_artefact, "--tokens-file", batch, "--new", 4)
    out = answer(*words, "--logits", file, "--threads", 1)
    assert out["threads"] == 1
    for prompt, new in zip(prompts, out["tokens"], strict=True):
        assert answer("run", tiny_artefact, "--tokens", ",".join(map(str, prompt)), "--new", 4)["tokens"] == [new]
    logits = np.load(file)
    assert logits.dtype == np.float32 and logits.shape == (3, len(GOLDEN["prompt"]) + 3, 128)
    for row, (prompt, new) in enumerate(zip(prompts, out["tokens"], strict=True)):
        assert list(logits[row, len(prompt) - 1 : len(prompt) + 3].argmax(-1)) == new
        assert np.isnan(logits[row, len(prompt) + 3 :]).all()
    assert text(*words).splitlines() == [",".join(map(str, new)) for new in out["tokens"]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["batch.json", "logits.npy"]


def test_verify(answer: Json, text: Run, tiny_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsv4c.driver.verify import Row

    def rows(folder: Path, threads: int | None) -> list[Row]:
        assert (folder, threads) == (tiny_artefact, 2)
        return [
            Row("step", "failed", float("inf"), "2 cases"),
            Row("moe", "ok", 1e-7, ""),
            Row("x", "skipped", 0.0, ""),
        ]

    real = answer("verify", tiny_artefact)
    assert real["ok"] and real["complete"]
    assert {"prefill", "decode", "step_all"} <= {f["name"] for f in real["functions"]}
    assert {f["status"] for f in real["functions"]} == {"ok"}
    monkeypatch.setattr("dsv4c.driver.verify.verify_artefact", rows)
    words = ("verify", tiny_artefact, "--threads", 2)
    failed = answer(*words, code=1)
    assert not failed["ok"]
    assert failed["functions"][0] == {"name": "step", "status": "failed", "error": None, "detail": "2 cases"}
    assert "1.0e-07" in text(*words, code=1)


def test_verify_says_when_it_skipped(
    answer: Json, text: Run, tiny_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "partly" not in text("verify", tiny_artefact)
    monkeypatch.setattr("dsv4c.driver.verify.LARGEST", 200_000)  # bytes: the small functions fit
    data = answer("verify", tiny_artefact)
    skipped = {f["name"] for f in data["functions"] if f["status"] == "skipped"}
    assert data["ok"] and not data["complete"] and {"backbone", "prefill", "decode", "step_all"} <= skipped
    count = len(data["functions"])
    assert text("verify", tiny_artefact).endswith(f"partly verified: {count - len(skipped)} of {count} functions\n")


# Text


def test_print_and_parse(answer: Json, text: Run, tiny_artefact: Path) -> None:
    file = tiny_artefact / "module.dsir"
    assert text("print", tiny_artefact) == text("print", file) == text("parse", file) == file.read_text()
    for command in ("print", "parse"):
        data = answer(command, file)
        assert data["text"] == file.read_text() and data["entry"] in [f["name"] for f in data["functions"]]
        assert all(f["ops"] > 0 and f["kind"] in ("block", "weights") for f in data["functions"])


def test_parse_prints_the_usual_spelling(text: Run, tmp_path: Path) -> None:
    path = tmp_path / "m.dsir"
    path.write_text("module m entry f\n\nfunc f(%x: f32[N]) {\n\n  %y: f32[N] = exp( %x )\n return %y }\n")
    usual = text("parse", path)
    assert usual == "module m entry f\n\nfunc f(%x: f32[N]) {\n  %0: f32[N] = exp(%x)\n  return %0\n}\n"
    path.write_text(usual)
    assert text("parse", path) == usual


# ONNX


def test_export(answer: Json, text: Run, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    made = answer("export", TINY, path)
    assert made["files"] == [str(path), f"{path}.data"] and made["outputs"][0] == "logits" and made["dtype"] == "f32"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    session = onnxruntime.InferenceSession(path)
    length = len(GOLDEN["prompt"])
    feeds = {"tokens": np.array([GOLDEN["prompt"]], np.int32), "past": np.zeros(1, np.int32)}
    feeds["new"] = np.full(1, length, np.int32)
    for given in session.get_inputs():
        if given.name.startswith("state."):
            shape = [eval(str(e), {"B": 1, "T": 32}) for e in given.shape]  # extents such as "T // 4"
            feeds[given.name] = np.zeros(shape, np.float32)
    (logits,) = session.run(["logits"], feeds)
    assert logits.shape == (1, length, 128) and logits[0, -1].argmax() == GOLDEN["new"][0]
    assert "logits" in text("export", TINY, path, "--force", "--dtype", "bf16")


def test_export_without_weights(answer: Json, tmp_path: Path) -> None:
    made = answer("export", TINY, tmp_path / "m.onnx", "--no-weights")
    assert made["files"] == [str(tmp_path / "m.onnx")] and "weights.embed" in made["inputs"]


# The process around the commands


def test_progress_is_one_line_and_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress_line() as progress:
            progress("one")
            progress("two")
        assert stream.getvalue() == shown


def test_whole_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(KeyError), whole_file(path) as file:
        file.write(b"half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as file:
        file.write(b"all")
    assert path.read_bytes() == b"all" and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_output_goes_to_where_a_link_leads(text: Run, tiny_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("l.npy", "m.onnx"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    for _ in range(2):  # a link to nothing, and one to a file
        text("run", tiny_artefact, "--tokens", "1", "--new", 1, "--logits", tmp_path / "l.npy")
        text("export", TINY, tmp_path / "m.onnx", "--no-weights", "--force")
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_symlink()) == ["l.npy", "m.onnx"]
        assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == ["l.npy", "m.onnx"]
    assert np.load(tmp_path / "disk" / "l.npy").shape == (1, 1, 128)


@pytest.mark.parametrize("words", [["models", "--json"], ["ops"], ["--help"]])
def test_reader_that_goes_away(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "dsv4c", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("words", [["models", "--json"], ["ops"], ["inspect", "deepseek-v3"], []])
def test_output_that_does_not_fit(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "dsv4c", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (2, "dsv4c: standard output: No space left on device\n")


def test_logits_that_do_not_fit(tmp_path: Path, tiny_artefact: Path) -> None:
    words = ["run", str(tiny_artefact), "--tokens", "1", "--logits", str(tmp_path / "l.npy")]
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); {RUN_MAIN}"
    command = [sys.executable, "-c", limited, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2 and list(tmp_path.iterdir()) == []
    assert done.stderr.startswith(f"dsv4c: {tmp_path / 'l.npy'}: cannot write all of it: ")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (OSError(28, "No space left on device"), 2, "dsv4c: No space left on device\n"),
        (OSError(13, "Permission denied", "a\nb"), 2, "dsv4c: a\\nb: Permission denied\n"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "dsv4c: Unable to allocate 9 TiB\n"),
    ],
)
def test_what_ends_a_command(
    raised: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise raised

    monkeypatch.setattr(cli_module, "_invoke", fail)
    assert main(["models"]) == code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("swallowed", [False, True])
def test_signals_end_the_work_in_order(
    number: int, code: int, swallowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def work(arguments: object) -> int:
        with whole_file(tmp_path / "out"):
            try:
                os.kill(os.getpid(), number)
                return 0
            except KeyboardInterrupt:
                if swallowed:  # as TVM does when it compiles
                    raise RuntimeError("a pass failed") from None
                raise

    monkeypatch.setattr(cli_module, "_invoke", work)
    assert main(["models"]) == code
    assert list(tmp_path.iterdir()) == []
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: object) -> int:
        raise OSError("no errno: not from the operating system")

    monkeypatch.setattr(cli_module, "_invoke", fail)
    with pytest.raises(OSError, match="no errno"):
        main(["models"])


def test_module_runs_as_a_process() -> None:
    done = process("inspect", "deepseek-v3", "--json")
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["layers"] == 61
    wrong = process("inspect", "no-such-model", "--json")
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr.startswith("dsv4c: no-such-model: ")
