"""A run from its inputs to its folder: what `minixl train` does, without the terminal.

    OUT/config.toml     every setting resolved, inputs, versions, seed
    OUT/inputs.json     a digest of every text file, so that --resume sees the same data
    OUT/log.jsonl       one line an update, one an evaluation
    OUT/metrics.json    the scores, see docs/runs.md
    OUT/model/          the selected model, a Hugging Face folder
    OUT/checkpoint/     what --resume continues from
    OUT/report.html     curves and table
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import statistics
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from minixl import __version__
from minixl.checkpoint import write_atomically
from minixl.data.batching import Stream
from minixl.data.corpus import TAGGING, check_labels, encode, labels_of, read_corpus
from minixl.errors import UserError
from minixl.methods import METHODS
from minixl.model_folder import ModelInfo, save_model
from minixl.models.transformer import Transformer
from minixl.report import write_report
from minixl.settings import Settings, flatten
from minixl.training import Evaluation, Reporter, Training, write_metrics
from minixl.weights.folder import load_parameters, read_config
from minixl.weights.tokenizer import Tokenizer

Named = list[tuple[str, Path]]         # (language, file), in the order given


@dataclass
class Inputs:
    """The files of a run."""

    encoder: Path
    source: Named
    dev: Named = field(default_factory=list)
    unlabelled: Named = field(default_factory=list)
    test: Named = field(default_factory=list)

    def to_toml(self) -> str:
        """The [inputs] table."""
        lines = ["[inputs]", f"encoder = {json.dumps(str(self.encoder), ensure_ascii=False)}"]
        for role in ("source", "dev", "unlabelled", "test"):
            pairs = [f"{language}={path}" for language, path in getattr(self, role)]
            lines.append(f"{role} = {json.dumps(pairs, ensure_ascii=False)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> Inputs:
        """The opposite of to_toml."""
        roles = {role: [parse_named(pair, f"--{role}") for pair in table[role]]
                 for role in ("source", "dev", "unlabelled", "test")}
        return cls(Path(table["encoder"]), **roles)


def parse_named(text: str, option: str) -> tuple[str, Path]:
    """'es=path' -> ("es", Path("path"))."""
    language, equals, path = text.partition("=")
    if not equals or not language or not path or "/" in language:
        raise UserError(f"{option} {text}: expected LANGUAGE=FILE, for example es=data/es.txt")
    return language, Path(path)


@dataclass
class Prepared:
    """Everything read and checked, before anything is written."""

    model: Transformer
    tokenizer: Tokenizer
    raw_config: Mapping[str, Any]
    labels: list[str]
    streams: dict[str, Stream]
    evaluation: Evaluation
    fingerprints: dict[str, str]
    messages: list[str]


def train_run(settings: Settings, inputs: Inputs, out: Path, *, seed: int, reporter: Reporter, xp: Any = np,
              resume: bool = False, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """One run into the folder `out`; returns metrics.json.  Raises UserError, and Stopped when `stop` says so.

    Everything the user can have got wrong is found before `out` is made.
    """
    if resume:
        _check_resumable(out, settings, inputs, seed)
    else:
        _check_unused(out)
    prepared = prepare(settings, inputs, seed, xp)
    _make(out)
    with locked(out):
        for message in prepared.messages:
            reporter.message(message)
        if not resume:
            (out / "log.jsonl").touch()
            write_atomically(out / "inputs.json", json.dumps(prepared.fingerprints, indent=2))
            write_atomically(out / "config.toml", _config(settings, inputs, seed))     # last: from here on it can be resumed
        return _train(settings, inputs, out, seed, prepared, reporter, resume, stop)


def _train(settings: Settings, inputs: Inputs, out: Path, seed: int, prepared: Prepared, reporter: Reporter, resume: bool,
           stop: Callable[[], bool]) -> dict[str, Any]:
    model, per_epoch = prepared.model, prepared.streams["source"].batches_per_epoch
    total = settings["train.epochs"] * per_epoch
    if settings["train.max_steps"]:
        total = min(total, settings["train.max_steps"]) if total else settings["train.max_steps"]
    method = METHODS[settings["method"]](model, prepared.streams, settings, seed, total)
    training = Training(model, method, prepared.streams, prepared.evaluation, settings, out, reporter, total_steps=total,
                        eval_every=settings["train.eval_every"] or per_epoch, stop=stop)
    if resume:
        _check_unchanged(json.loads((out / "inputs.json").read_text(encoding="utf-8")), prepared.fingerprints)
        if training.checkpoint.exists():
            training.resume()
        else:                                                      # it was stopped before its first checkpoint
            (out / "log.jsonl").write_text("", encoding="utf-8")
    scores = training.run()
    metrics = {"method": settings["method"], "task": settings["task"], "seed": seed, **scores}
    info = ModelInfo(task=settings["task"], labels=prepared.labels, scheme="IOB2" if settings["task"] == "ner" else "none",
                     pooling=model.pooling, max_length=settings["data.max_length"], on_long=settings["data.on_long"],
                     constrained=settings["decode.constrained"], method=settings["method"],
                     sources=[language for language, _ in inputs.source], seed=seed, scores=scores["test"])
    save_model(out / "model", model, prepared.tokenizer, info, prepared.raw_config)
    write_report(out, metrics)
    write_metrics(out, metrics)                                    # last: it marks a run as finished
    return metrics


def prepare(settings: Settings, inputs: Inputs, seed: int, xp: Any = np) -> Prepared:
    """Read every file, build the model, load the encoder."""
    task, encoding = settings["task"], settings["data.encoding"]
    if settings["method"] not in METHODS:
        raise UserError(f"method: expected one of {', '.join(METHODS)}, got {settings['method']!r}")
    if not settings["train.epochs"] and not settings["train.max_steps"]:
        raise UserError("train.epochs and train.max_steps are both 0: nothing would be trained; set one of them")
    if not inputs.source:
        raise UserError("--source: expected at least one labelled file, for example --source en=train.txt")
    for role in ("source", "dev", "unlabelled", "test"):
        once(f"--{role} ", [language for language, _ in getattr(inputs, role)])
    config = read_config(inputs.encoder)
    tokenizer = Tokenizer(inputs.encoder, config.vocab_size)
    if settings["data.max_length"] > config.max_position_embeddings:
        raise UserError(f"data.max_length: {settings['data.max_length']} word pieces are more than the encoder's "
                        f"{config.max_position_embeddings} positions ({inputs.encoder / 'config.json'})")
    reading: dict[str, Any] = {"encoding": encoding, "scheme": settings["data.scheme"]}
    read = lambda pairs: [read_corpus(task, language, path, **reading) for language, path in pairs]
    sources = [corpus.limited(settings["data.limit"]) for corpus in read(inputs.source)]
    labels = labels_of(task, sources)
    if len(labels) < 2:
        raise UserError(f"{sources[0].path}: expected at least two different labels, found only {', '.join(labels) or 'none'}")
    model = _build(settings, config, labels, seed, xp)
    report = load_parameters(inputs.encoder, {p.name: p.value for p in model.store if p.name.startswith("bert.")},
                             optional=model.head_names())
    messages = [str(replace(report, new=tuple(name for name in model.head_names() if name not in report.loaded)))]
    frozen = freeze(model, settings["model.freeze"])
    if not model.store.names(trainable=True):
        raise UserError(f"model.freeze: {', '.join(settings['model.freeze'])} leaves no parameter to train; "
                        "freeze fewer, for example bottom:3")
    if frozen:
        messages.append(f"frozen: {len(frozen)} parameters; trained: {model.store.count(trainable=True):,} of "
                        f"{model.store.count():,} weights")
    how = {"max_length": settings["data.max_length"], "on_long": settings["data.on_long"]}
    examples = []
    for corpus in sources:
        encoded = encode(corpus, tokenizer, labels, **how)
        examples += encoded.examples
        messages.append(encoded.report(f"source {corpus.language}"))
    for language, path in inputs.unlabelled:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "nothing"
            raise UserError(f"--unlabelled {language}={path}: expected a file, found {found}")
        messages.append(f"unlabelled {language}: not used, {settings['method']} trains on labelled text only")
    evaluation = Evaluation(task, settings, [corpus.language for corpus in sources])
    for part in ("dev", "test"):
        for corpus in read(getattr(inputs, part)):
            corpus = corpus.limited(settings["data.test_limit"])
            check_labels(corpus, labels)
            encoded = encode(corpus, tokenizer, labels, **how)
            evaluation.add(part, corpus, encoded)
            messages.append(encoded.report(f"{part} {corpus.language}"))
    if settings["train.patience"] and not any(language in evaluation.sources for language in evaluation.files["dev"]):
        messages.append("train.patience has no effect: early stopping needs a source dev file (--dev)")
    streams = {"source": Stream(examples, settings["train.batch_size"], seed, xp)}
    return Prepared(model, tokenizer, config.raw, labels, streams, evaluation, _fingerprints(inputs), messages)


def _build(settings: Settings, config: Any, labels: list[str], seed: int, xp: Any) -> Transformer:
    tagging = settings["task"] in TAGGING
    pooling = settings["model.pooling"]
    if pooling == "auto":
        pooling = "token" if tagging else "mean"
    if tagging != (pooling == "token"):
        raise UserError(f"model.pooling: {pooling} does not fit task {settings['task']}; expected "
                        f"{'token' if tagging else 'mean or cls'}")
    if settings["model.dropout"] >= 0:
        config = replace(config, hidden_dropout_prob=settings["model.dropout"],
                         attention_probs_dropout_prob=settings["model.dropout"])
    model = Transformer(config, labels, pooling, xp=xp)
    model.initialise_head(np.random.Generator(np.random.PCG64([seed, 1])))
    return model


def freeze(model: Transformer, patterns: list[str]) -> list[str]:
    """Freeze by shell patterns; 'bottom:N' stands for the embeddings and the lowest N layers."""
    names: list[str] = []
    for pattern in patterns:
        kind, colon, count = pattern.partition(":")
        if kind == "bottom" and colon:
            layers = model.config.num_hidden_layers
            if not count.isdigit() or int(count) > layers:
                raise UserError(f"model.freeze: {pattern}: expected bottom:N with N from 0 to {layers}")
            names += model.store.freeze(["bert.embeddings.*", *(f"bert.encoder.layer.{i}.*" for i in range(int(count)))])
        else:
            names += model.store.freeze([pattern])
    return names


def train_seeds(settings: Settings, inputs: Inputs, out: Path, *, seeds: list[int], reporter: Reporter, xp: Any = np,
                resume: bool = False, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """One run a seed, into OUT/seed-N; OUT/metrics.json has mean, sd and max of every figure."""
    if not resume:
        _check_unused(out)
    runs: list[dict[str, Any]] = []
    for seed in seeds:
        reporter.message(f"seed {seed} ({len(runs) + 1} of {len(seeds)})")
        folder = out / f"seed-{seed}"
        finished = folder / "metrics.json"
        if resume and finished.is_file():
            _check_same(folder, settings, inputs, seed)
            runs.append(json.loads(finished.read_text(encoding="utf-8")))
            continue
        runs.append(train_run(settings, inputs, folder, seed=seed, reporter=reporter, xp=xp,
                              resume=resume and (folder / "config.toml").is_file(), stop=stop))
    summary = {"method": settings["method"], "task": settings["task"], "seeds": seeds, **summarise(runs)}
    write_metrics(out, summary)
    return summary


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of several runs, each as {"mean", "sd", "max", "runs"}; sd is that of a sample (n - 1).

    What not every run has is left out: an entity type that only some of them predicted.
    """
    merged: dict[str, Any] = {}
    for key, first in runs[0].items():
        if not all(key in run for run in runs):
            continue
        values = [run[key] for run in runs]
        if isinstance(first, dict):
            merged[key] = summarise(values) if first else {}
        elif isinstance(first, int | float) and key != "seed":
            merged[key] = {"mean": statistics.fmean(values), "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                           "max": max(values), "runs": values}
    return merged


def read_run(out: Path) -> tuple[Settings, Inputs, int]:
    """Settings, inputs and seed of a run folder's config.toml."""
    path = out / "config.toml"
    if not path.is_file():
        raise UserError(f"--resume: {path} is not there, so {out} holds no run to continue")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        inputs, seed = Inputs.from_table(table["inputs"]), int(table["seed"])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected the settings of a run as minixl wrote them, found a damaged file ({error}); "
                        "start again with a new --out folder") from None
    return Settings(flatten({key: value for key, value in table.items() if key != "seed"}), str(path)), inputs, seed


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process.  Raises UserError when another one holds it."""
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"--out {folder}: another process is writing to this folder") from None
        yield


def _config(settings: Settings, inputs: Inputs, seed: int) -> str:
    versions = {"minixl": __version__} | {name: metadata.version(name) for name in
                                          ("numpy", "scipy", "tokenizers", "safetensors", "seqeval")}
    table = "\n".join(f"{name} = {json.dumps(version)}" for name, version in versions.items())
    return f"seed = {seed}\n{settings.to_toml()}\n{inputs.to_toml()}\n[versions]\n{table}\n"


def _check_unused(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: expected a folder, found a file; choose another name")
    names = {entry.name for entry in out.iterdir()} - {".lock"} if out.exists() else set()
    if names:
        begun = "config.toml" in names or any(out.glob("seed-*/config.toml"))
        raise UserError(f"--out {out}: the folder is in use; choose another" +
                        (f", or continue that run with --resume --out {out}" if begun else ""))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: the folder cannot be made ({error.strerror or error}); choose another") from None


def _check_resumable(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    _check_same(out, settings, inputs, seed)
    if (out / "metrics.json").is_file():
        raise UserError(f"--resume: the run in {out} is finished, its scores are in {out / 'metrics.json'}")


def _check_same(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    before, files, number = read_run(out)
    changed = [name for name in settings if settings[name] != before[name]]
    if changed:
        name = changed[0]
        raise UserError(f"--resume: {name} was {before[name]!r} when the run began, now it is {settings[name]!r}")
    if seed != number or files != inputs:
        raise UserError(f"--resume: the inputs or the seed differ from those in {out / 'config.toml'}; leave them out to "
                        f"continue that run")


def once(what: str, languages: list[str]) -> None:
    """Raises UserError for a language that is given twice."""
    twice = next((language for language in languages if languages.count(language) > 1), None)
    if twice:
        raise UserError(f"{what}{twice}=...: given twice; one file a language")


def _fingerprints(inputs: Inputs) -> dict[str, str]:
    """SHA-256 of every text file, so that a resumed run is known to see the same data."""
    paths = [path for role in (inputs.source, inputs.dev, inputs.unlabelled, inputs.test) for _, path in role]
    return {str(path): _digest(path) for path in paths}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:                                     # raw text can be larger than memory
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_unchanged(before: dict[str, str], now: dict[str, str]) -> None:
    changed = next((path for path, digest in before.items() if now.get(path) != digest), None)
    if changed:
        raise UserError(f"--resume: {changed} has changed since the run began")
