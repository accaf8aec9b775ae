"""Pages as full as real ones, for the tests in a browser: 14 languages, runs of 3 seeds, AdvPicker with its audit, documents."""
from __future__ import annotations

import json
from math import exp, sin
from pathlib import Path
from typing import Any

from minixl.data.corpus import read_corpus
from minixl.evaluation.predictions import write_predictions
from minixl.evaluation.scores import score as documents
from minixl.run.folder import begin
from tests.report.compared import write_comparison, write_report
from tests.whole_runs import inputs, settings

LANGUAGES = ("en", "es", "de", "nl", "fr", "it", "pt", "ru", "ar", "fi", "hu", "th", "vi", "zh")
TYPES = ("LOC", "MISC", "ORG", "PER")
DIGEST = "3f9ab2c17de84f60"


def score(value: float) -> dict[str, Any]:
    row = {"f1": value, "precision": value + 0.02, "recall": value - 0.02, "support": 1200}
    return {**row, "by_type": {name: {**row, "f1": value - 0.03 * i, "support": 400 - 70 * i} for i, name in enumerate(TYPES)}}


def log(languages: tuple[str, ...], seed: int, adversary: bool, steps: int = 1200, every: int = 100) -> list[dict[str, Any]]:
    """Losses that fall, scores that rise, both with noise."""
    records: list[dict[str, Any]] = []
    for step in range(steps):
        noise = sin(12.9 * step + seed) * 0.3
        records.append({"kind": "update", "loss": "task", "step": step, "value": 0.4 + 2 * exp(-step / 150) * (1 + noise)})
        for i, loss in enumerate(("discriminator", "generator") if adversary else ()):
            records.append({"kind": "update", "loss": loss, "step": step, "value": 0.69 + 0.1 * i + noise / 5,
                            "accuracy": 0.5 + 0.4 * exp(-step / 200) + noise / 10})
        if (step + 1) % every == 0:
            scores = {language: {"f1": reached(i, seed, adversary) * (1 - exp(-(step + 1) / 250))} for i, language in
                      enumerate(languages)}
            records.append({"kind": "evaluation", "step": step + 1, "dev": {languages[0]: scores[languages[0]]}, "test": scores})
    return records


def reached(i: int, seed: int, adversary: bool) -> float:
    return 0.88 - 0.03 * i + 0.03 * sin(2.1 * seed + i) + 0.04 * adversary


def write_run(folder: Path, languages: tuple[str, ...], seed: int = 1, *, adversary: bool = False, finish: bool = True,
              method: str = "finetune", **changes: Any) -> dict[str, Any]:
    """Write a finished run and return the content of its metrics.json."""
    folder.mkdir(parents=True)
    files = {role: [(language, folder.parent / f"{language}.txt") for language in languages] for role in ("test", "unlabelled")}
    read = inputs(folder.parent, **files)
    begin(folder, settings(**changes), read, seed, {str(path): DIGEST for _, path in read.test} | {str(read.encoder): DIGEST})
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log(languages, seed, adversary)))
    scores = {language: score(reached(i, seed, adversary)) for i, language in enumerate(languages)}
    metrics = {"method": method, "task": "ner", "seed": seed, "test": scores, "last": scores,
               "oracle": {languages[1]: scores[languages[1]]}, "steps": 1200, "selected_step": 1100, "seconds": 1843.0,
               "tokens_per_second": 912.0, "peak_memory_bytes": 3 * 2 ** 30}
    if finish:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return metrics


def audit() -> dict[str, Any]:
    """As AdvPicker writes it, for one language with tags and one without."""
    def parts(value: float) -> list[dict[str, Any]]:
        return [{"part": part, "sentences": 100 * i, **score(value)} for i, part in enumerate(("selected", "other", "all"), 1)]
    histogram = [{"sentences": int(400 * exp(-((i - 10) / 4) ** 2)), "selected": int(400 * exp(-((i - 10) / 3) ** 4))}
                 for i in range(20)]
    histogram = [{**row, "selected": min(row.values())} for row in histogram]
    sweep = [{"rho": rho / 10, "sentences": 300 * rho, **score(0.8 - rho / 100)} for rho in (2, 6, 10)]
    language = {"sizes": {"selected": 2400, "other": 600, "all": 3000}, "histogram": histogram,
                "teachers": [{"teacher": i, "chosen": 900 + i, "confidence": 0.97, "agreement": 0.93} for i in range(3)]}
    return {"languages": {"es": {**language, "pseudo_labels": parts(0.7), "sweep": sweep}, "fr": language},
            "test": {"es": {"teachers": parts(0.71), "student": parts(0.74)}}}


def write_test_predictions(folder: Path, languages: tuple[str, ...], right: int) -> None:
    """Write predictions on 40 one-word sentences of each language, of which `right` are tagged correctly."""
    for language in languages:
        text = folder / f"{language}.conll"
        text.write_text("x\tB-PER\n\n" * 40)
        write_predictions(folder, read_corpus("ner", language, text), [["B-PER"] if i < right else ["O"] for i in range(40)])


def write_documents(folder: Path) -> Path:
    """Write the page of a classifier with six classes, in three languages."""
    gold = [f"category {i % 6}" for i in range(60)]
    test = {language: documents("classification", gold, [f"category {(i + (i % (3 + shift) == 0)) % 6}" for i in range(60)])
            for shift, language in enumerate(LANGUAGES[:3])}
    run = folder / "documents" / "run"
    metrics = write_run(run, LANGUAGES[:3], task="classification") | {"task": "classification", "test": test, "last": test,
                                                                      "oracle": {}}
    (run / "log.jsonl").write_text("")
    write_report(run, metrics)
    return run / "report.html"


def write_pages(folder: Path) -> dict[str, Path]:
    """Name -> page."""
    metrics = write_run(folder / "fourteen" / "languages", LANGUAGES, adversary=True, optim__lr=2e-5)
    counts = {(role, language): 14000 // i for role in ("test", "unlabelled") for i, language in enumerate(LANGUAGES, 1)}
    write_report(folder / "fourteen" / "languages", metrics, counts=counts)
    for seed in (1, 2, 3):
        for kind, languages in (("few", LANGUAGES[:3]), ("many", LANGUAGES)):
            for adversary, name, lr in ((False, "plain", 1e-3), (True, "with-adversary", 1e-4)):
                run = folder / kind / name / f"seed-{seed}"
                write_run(run, languages, seed, adversary=adversary, optim__lr=lr)
                write_test_predictions(run, languages, 24 + 2 * seed + 6 * adversary)
    comparisons = {f"seeds-{kind}": folder / f"{kind}.html" for kind in ("few", "many")}
    for kind in ("few", "many"):
        write_comparison([folder / kind / "plain", folder / kind / "with-adversary"], comparisons[f"seeds-{kind}"])
    picked = folder / "picked" / "run"
    metrics = write_run(picked, LANGUAGES[:4], method="advpicker", advpicker__audit=True)
    (picked / "audit.json").write_text(json.dumps(audit()))
    write_report(picked, metrics)
    return {"languages": folder / "fourteen" / "languages" / "report.html", **comparisons, "advpicker": picked / "report.html",
            "documents": write_documents(folder)}
