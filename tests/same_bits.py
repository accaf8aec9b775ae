"""Compare what runs leave before and after a change of the code, bit by bit: for changes that must not change a result.

    python -m tests.same_bits REVISION [CASE ...]

Trains every method on tiny data with the minixl of a git revision and with that of the working tree, and prints for each case
whether parameters, scores, logs and pseudo-labels are equal.  Each run is also made a second time, interrupted by SIGINT
twice and resumed.  Exits with 1 if anything differs.  Takes about four minutes.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.tiny import write_vectors
from tests.whole_runs import write_data

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("kernels", "weights", "cli")
OLD_NAMES = {"linkage.level=": ("alignment.average_linkage=true", "alignment.level="), "linkage.lr=": ("alignment.lr=",),
             "advpicker.audit=": ("advpicker.study=",)}         # settings before methods had rooms of their own
NOT_COMPARED = {"seconds", "tokens_per_second", "peak_memory_bytes", "scored"}

COMMON = ["train.batch_size=4", "train.eval_every=3", "data.max_length=32", "train.checkpoint_every=1", "train.epochs=6",
          "train.max_steps=0", "train.patience=0"]
ENCODER = [*COMMON, "optim.lr=1e-3", "optim.head_lr=1e-2", "adversary.size=8", "adversary.lr=1e-4", "optim.schedule=linear",
           "optim.warmup=0.1", "model.freeze="]
STAGES = [*ENCODER, "advpicker.teachers=2", "advpicker.epochs=4", "advpicker.rho=0.75", "train.batch_size=2", "train.epochs=8"]
FROZEN = ["model.freeze=bottom:1", "model.keep_frozen=true"]
LINKAGE = ["linkage.lr=1e-4", "linkage.level=sentence"]

CASES = {   # name -> recipe, suffix of the labelled files, unlabelled text, settings, further options
    "finetune": ("finetune-ner", "txt", False, ENCODER),
    "finetune, accumulated": ("finetune-ner", "txt", False, [*ENCODER, "train.accumulate=2", "model.dropout=0.3",
                                                             "train.score_tests=true"]),
    "finetune, kept states": ("finetune-ner", "txt", False, [*ENCODER, *FROZEN]),
    "finetune, documents": ("finetune-classification", "tsv", False, [*ENCODER, "train.epochs=20"]),
    "bilstm-crf": ("bilstm-crf-ner", "txt", False, COMMON),
    "bilstm-crf, vectors": ("bilstm-crf-ner-cpu", "txt", False, [*COMMON, "model.tied=true", "model.start_end=true",
                                                                 "model.variational=true"]),
    "adversary, sentences": ("language-adversarial-ner", "txt", True, [*ENCODER, "train.stop_on=discriminator",
                                                                       "train.patience=50"]),
    "adversary, tokens": ("language-adversarial-ner", "txt", True, [
        *ENCODER, "adversary.level=token", "adversary.order=generator-first", "adversary.every=2", "adversary.target_size=source",
        "adversary.specials=false", "adversary.weight_decay=0.01"]),
    "adversary, documents": ("language-adversarial-classification", "tsv", True, [*ENCODER, "train.epochs=20"]),
    "adversary as a term": ("finetune-ner", "txt", True, [*ENCODER, "adversary.level=sentence"]),
    "linkage, sentences": ("finetune-ner", "txt", True, [*ENCODER, *LINKAGE]),
    "linkage, tokens, adversary": ("finetune-ner", "txt", True, [*ENCODER, "linkage.lr=1e-4", "linkage.level=token",
                                                                 "adversary.level=token", *FROZEN]),
    "advpicker": ("advpicker", "txt", True, [*STAGES, "advpicker.audit=true"]),
    **{f"advpicker, {variant}": ("advpicker", "txt", True, [*STAGES, f"advpicker.variant={variant}"])
       for variant in ("all-data", "without-kd", "tladv", "ft")},
    "advpicker, terms": ("advpicker", "txt", True, [*STAGES, *LINKAGE, "distill.temperature=2.0", "advpicker.merge=max_logit"]),
}


def package(revision: str | None, folder: Path) -> Path:
    """The folder of an importable minixl: that of a git revision, or of the working tree."""
    tree = ROOT
    if revision:
        tree = folder / "tree"
        archive = folder / "tree.tar"
        folder.mkdir()
        subprocess.run(["git", "archive", "-o", archive, revision], cwd=ROOT, check=True)
        with tarfile.open(archive) as content:
            content.extractall(tree, filter="data")
    for source, target in [("minixl", "minixl"), *((name, f"minixl/{name}") for name in MAPPED)]:
        shutil.copytree(tree / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def command(case: str, data: Path, out: Path, old: bool) -> list[str]:
    """minixl train of a case."""
    recipe, suffix, unlabelled, settings = CASES[case]
    words = recipe.startswith("bilstm-crf")
    files = {"encoder": [] if words else [data / "encoder"], "source": [f"en={data}/en.{suffix}"],
             **{role: [f"en={data}/en.{suffix}", f"es={data}/es.{suffix}"] for role in ("dev", "test")},
             "unlabelled": [f"es={data}/es.txt", f"fr={data}/fr.raw"] if unlabelled else [],
             "vectors": [f"en={data}/en.vec"] if case == "bilstm-crf, vectors" else []}
    options = [word for role, values in files.items() for value in values for word in (f"--{role}", str(value))]
    for setting in settings:
        name = setting[:setting.index("=") + 1]
        for written in [old_name + (setting[len(name):] if old_name.endswith("=") else "") for old_name in OLD_NAMES[name]] \
                if old and name in OLD_NAMES else [setting]:
            options += ["--set", written]
    return [sys.executable, "-m", "minixl", "train", recipe, *options, "--device", "cpu", "--out", str(out)]


def train(case: str, code: Path, data: Path, out: Path, old: bool) -> None:
    """One run without a stop."""
    subprocess.run(command(case, data, out, old), cwd=code, check=True, capture_output=True)


def train_in_pieces(case: str, code: Path, data: Path, out: Path, old: bool, lines: int) -> None:
    """One run, interrupted after about 30 and 70 % of its log, which has `lines`."""
    call = command(case, data, out, old)
    for part in (0.3, 0.7):
        resume = ["--resume"] if (out / "config.toml").is_file() else []
        process = subprocess.Popen([*call, *resume], cwd=code, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and log_lines(out) < part * lines:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        if process.wait() == 0:
            return
    subprocess.run([*call, "--resume"], cwd=code, check=True, capture_output=True)


def log_lines(out: Path) -> int:
    """Of all stages."""
    return sum(log.read_text().count("\n") for log in out.rglob("log.jsonl"))


def digests(out: Path) -> dict[str, str]:
    """file -> digest of what counts in it."""
    found = {}
    for path in sorted(out.rglob("*")):
        content: object = None
        if path.suffix == ".safetensors" and "checkpoint" not in path.parts:
            content = [(name, str(array.dtype), array.shape, array.tobytes().hex())
                       for name, array in sorted(load_file(path).items())]
        elif path.name == "metrics.json":
            content = {name: value for name, value in json.loads(path.read_text()).items() if name not in NOT_COMPARED}
        elif path.name == "log.jsonl":
            content = [{name: value for name, value in json.loads(line).items() if name != "subset"}
                       for line in path.read_text().splitlines()]
        elif path.suffix == ".conll":
            content = path.read_text()
        if content is not None:
            found[str(path.relative_to(out))] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return found


def main(revision: str, cases: list[str]) -> int:
    """Compare the revision with the working tree; returns the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder / "data")
        rng = np.random.default_rng(0)
        write_vectors(data / "en.vec", {word: rng.normal(size=8).round(3).tolist() for word in
                                        "anna ben visited lives in paris madrid the . visit en visita".split()})
        before, after = package(revision, folder / "before"), package(None, folder / "after")
        old = not (before / "minixl" / "run").is_dir()
        for number, case in enumerate(cases or CASES):
            outs = {f"{kind}-{what}": folder / f"{kind}-{what}" / str(number) for kind in ("runs", "resumed")
                    for what in ("before", "after")}
            for what, code, is_old in (("before", before, old), ("after", after, False)):
                train(case, code, data, outs[f"runs-{what}"], is_old)
                train_in_pieces(case, code, data, outs[f"resumed-{what}"], is_old, log_lines(outs[f"runs-{what}"]))
            expected, *others = (digests(out) for out in outs.values())
            wrong = sorted({file for other in others for file in {*expected, *other} if expected.get(file) != other.get(file)})
            differ += bool(wrong)
            print(f"{case:<28} {len(expected)} files: {'equal, resumed or not' if not wrong else 'DIFFERENT: ' + ', '.join(wrong)}",
                  flush=True)
    return int(differ > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"{__doc__}\nexpected a revision, for example HEAD~1")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
