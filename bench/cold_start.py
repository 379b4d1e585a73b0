"""How long until a new process has put a picture on disk, and how much memory it took, beside `diffusers`.

Both make the same picture from the same files, in turn, each in a process of its own; the files are in the page cache.
Both get `OMP_WAIT_POLICY=PASSIVE`, which ours would set for itself: without it a busy machine would flatter us.

    python -m bench.cold_start [--runs 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.circumstances import ROOT, circumstances
from bildwerk.checkpoints.location import folder_of
from bildwerk.domain.catalog import load_catalog

MODEL = load_catalog()["bildwerk/flux-tiny"]
PROMPT = "A beautiful landscape with mountains and lake"
SIDE = MODEL.engine.default_width
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
SPANS = {
    ("start", None): "python, command line, order",
    ("progress", None): "python, command line, order",
    ("progress", "load"): "load",
    ("progress", "encode"): "encode",
    ("progress", "denoise"): "denoise",
    ("progress", "decode"): "decode",
    ("image", None): "image file",
    ("end", None): "image file",
}
"""By the report that ends it: its kind, and the stage that has moved on."""
RESULT = ROOT / "bench" / "results" / "cold_start.json"


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians, and every run."""

    seconds: float
    peak_mib: float
    runs: tuple[Run, ...]

    @staticmethod
    def of(runs: list[Run]) -> "Summary":
        return Summary(
            seconds=round(statistics.median(run.seconds for run in runs), 3),
            peak_mib=round(statistics.median(run.peak_mib for run in runs), 1),
            runs=tuple(runs),
        )


def commands(out: Path) -> dict[str, list[str]]:
    size = f"{SIDE}x{SIDE}"
    tokens = str(MODEL.engine.max_text_tokens)
    folder = str(folder_of(MODEL, ROOT))
    ours = ["-m", "bildwerk", "generate", PROMPT, "--size", size, "--seed", "42", "--device", "cpu", "-o", f"{out}.png"]
    theirs = ["-m", "bench.diffusers_process", folder, PROMPT, f"{out}.png", "--side", str(SIDE)]
    return {
        "bildwerk": [sys.executable, *ours],
        "diffusers": [sys.executable, *theirs, "--text-tokens", tokens],
    }


def measure(command: list[str], out: Path) -> Run:
    """Raises `SystemExit` with the process's own words where it makes no picture."""
    out.unlink(missing_ok=True)
    with tempfile.TemporaryFile() as words:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=words, stderr=words, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not out.is_file():
            words.seek(0)
            raise SystemExit(f"{command} failed:\n{words.read().decode()}")
    return Run(round(seconds, 3), round(usage.ru_maxrss / 1024, 1))


def compare(runs: int) -> dict[str, Summary]:
    """One run of each to fill the page cache, then the contenders in turn."""
    found: dict[str, list[Run]] = {"bildwerk": [], "diffusers": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "picture"
        for turn in range(runs + 1):
            for name, command in commands(out).items():
                run = measure(command, out.with_suffix(".png"))
                print(f"{'warm-up' if turn == 0 else turn}  {name:10} {run.seconds:6.2f} s  {run.peak_mib:7.1f} MiB")
                found[name] += [run] if turn else []
    return {name: Summary.of(each) for name, each in found.items()}


def profile(runs: int) -> dict[str, float]:
    """Where a cold run of ours spends its seconds: medians of spans, by when the process reports what it has done.

    `load` is torch's import and the weights; `import torch alone` is beside it, in a process that does nothing else.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [*commands(Path(folder) / "picture")["bildwerk"], "--json"]
        import_torch = [sys.executable, "-c", "import torch"]
        found = [{**spans(command), "import torch alone": seconds_of(import_torch)} for _ in range(runs)]
    return {name: round(statistics.median(run[name] for run in found), 3) for name in found[0]}


def spans(command: list[str]) -> dict[str, float]:
    """Seconds between two reports of one process, by what lies between them; `exit` is what comes after the last."""
    last, found = time.perf_counter(), dict.fromkeys((*SPANS.values(), "exit"), 0.0)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event, now = json.loads(line), time.perf_counter()
            found[SPANS[event["event"], event.get("stage") if event.get("done") else None]] += now - last
            last = now
    found["exit"] = time.perf_counter() - last
    return found


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    before = circumstances()
    runs = parser.parse_args().runs
    summaries = compare(runs)
    ratio = summaries["diffusers"].seconds / summaries["bildwerk"].seconds
    result = {
        "what": f"seconds from start to PNG in a cold process, {MODEL.id}, {SIDE}x{SIDE}, 4 steps, float32, CPU",
        **before,
        "results": {name: asdict(summary) for name, summary in summaries.items()},
        "speedup": round(ratio, 2),
        "profile": profile(runs),
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(*(f"{seconds:6.2f} s  {name}" for name, seconds in result["profile"].items()), sep="\n")
    print(f"{ratio:.2f} times as fast as diffusers; written to {RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
