"""One way to run the networks, measured as a whole and in its parts."""

from dataclasses import asdict

import torch

from bench.gpu.flops import count
from bench.gpu.model import STEPS
from bench.gpu.painter import FIRST_STEP, Painter
from bench.gpu.record import Numbers
from bench.gpu.timing import interleaved
from bench.gpu.workbench import Workbench
from bildwerk.engine.attention_backend import Choice
from bildwerk.engine.buckets import Bucket


def measured(bench: Workbench, painter: Painter, bucket: Bucket) -> Numbers:
    """Seconds from a prompt to a picture on the host, of each part, of a later step; and the operations."""
    order = bench.order(bucket)
    whole = interleaved({"": lambda: painter.paint(order)}, bench.rounds, bench.device)[""]
    parts = painter.laps(order, bench.rounds)
    flops = count(bench.shapes, bucket.height, bucket.width, bucket.batch)
    step = parts["denoise"] / (STEPS - 1)
    loop = parts["denoise"] + parts[FIRST_STEP]
    return {
        "bucket": str(bucket),
        "picture": whole.numbers(),
        "parts": {name: seconds for name, seconds in parts.items() if name},
        "step": step,
        "share outside the loop": 1 - loop / sum(parts.values()),
        "operations": {"step": flops.step, "picture": flops.picture(STEPS)},
        "rate in a step": flops.step / step,
        "warmth": {**asdict(painter.engine.warmth)},
    }


def attention_chosen(bench: Workbench) -> Numbers:
    """What the engine attends with at the usual size, and what each candidate came to."""
    return {"joint": _tried(bench.joint_attention()), "decoder": _tried(bench.decoder_attention())}


def _tried(choice: Choice) -> Numbers:
    seconds: Numbers = {trial.candidate.name: trial.seconds or trial.refusal for trial in choice.trials}
    return {"chosen": choice.candidate.name, "seconds or refusal": seconds}


def profile(bench: Workbench, painter: Painter, name: str) -> str:
    """Write the table of the longest kernels of one picture; the name of its file."""
    order = bench.order(bench.bucket())
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as found:
        painter.paint(order)
    key = "self_device_time_total" if bench.device.type == "cuda" else "self_cpu_time_total"
    path = bench.folder / f"profile-{name}.txt"
    path.write_text(found.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=100))
    return path.name
