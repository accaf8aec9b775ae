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
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from minixl import __version__
from minixl.building import build
from minixl.checkpoint import write_atomically
from minixl.data.batching import Stream
from minixl.data.corpus import Corpus, check_classes, check_labels, encode, labels_of, read_corpus, read_unlabelled
from minixl.data.encoding import Example, PieceTokenizer
from minixl.errors import UserError
from minixl.inputs import Inputs
from minixl.methods import METHODS, make_method, stream_texts
from minixl.model_folder import ModelInfo, save_model
from minixl.models.family import Model
from minixl.models.frozen_bottom import FrozenBottom
from minixl.models.transformer import Transformer
from minixl.pipeline import Text, label, student_examples, tag_with_teachers, train_teachers, variant
from minixl.report import write_report
from minixl.settings import Settings, flatten
from minixl.training import Evaluation, Reporter, Training, write_metrics
from minixl.weights.folder import read_config


NO_TRAINING = {"steps": 0, "selected_step": 0, "seconds": 0.0, "tokens_per_second": 0.0, "peak_memory_bytes": 0}


@dataclass
class Prepared:
    """Everything read and checked, before anything is written."""

    model: Model
    tokenizer: PieceTokenizer
    raw_config: Mapping[str, Any]
    labels: list[str]
    examples: dict[str, list[Example]]         # by what METHOD.STREAMS calls them: "labelled", "source", "target", "pseudo"
    texts: dict[str, Text]                     # the unlabelled text of every target language
    evaluation: Evaluation
    fingerprints: dict[str, str]
    messages: list[str]


def train_run(settings: Settings, inputs: Inputs, out: Path, *, seed: int, reporter: Reporter, xp: Any = np,
              resume: bool = False, stop: Callable[[], bool] = lambda: False, shared: Path | None = None) -> dict[str, Any]:
    """One run into the folder `out`; returns metrics.json.  Raises UserError, and Stopped when `stop` says so.

    Everything the user can have got wrong is found before `out` is made.  shared: where runs that differ in their seed
    keep what they have in common, the teachers of AdvPicker; None: in `out`.
    """
    settings = variant(settings)
    if resume:
        _check_resumable(out, settings, inputs, seed)
    else:
        check_unused(out)
    prepared = prepare(settings, inputs, seed, xp)
    _make(out)
    with locked(out):
        for message in prepared.messages:
            reporter.message(message)
        if not resume:
            (out / "log.jsonl").touch()
            write_atomically(out / "inputs.json", json.dumps(prepared.fingerprints, indent=2))
            write_atomically(out / "config.toml", _config(settings, inputs, seed))     # last: from here on it can be resumed
        else:
            _check_unchanged(json.loads((out / "inputs.json").read_text(encoding="utf-8")), prepared.fingerprints)
        targets = None
        if settings["method"] == "advpicker":
            folder = shared or out
            teachers = train_teachers(settings, inputs, folder, train_run, reporter, xp=xp, stop=stop)
            if settings["advpicker.variant"] == "without-kd":
                scores = tag_with_teachers(settings, teachers, prepared.evaluation, xp)
                return _finish(out, settings, seed, {"test": scores, "last": scores, "oracle": {}, **NO_TRAINING})
            targets = _label(settings, inputs, folder, teachers, prepared, reporter, xp)
        return _train(settings, inputs, out, seed, prepared, targets, reporter, resume, stop)


def _label(settings: Settings, inputs: Inputs, folder: Path, teachers: dict[str, Path], prepared: Prepared, reporter: Reporter,
           xp: Any) -> np.ndarray:
    """AdvPicker's stages B to D: the student's examples go into `prepared`; returns their soft labels."""
    labels = label(settings, prepared.texts, dict(inputs.unlabelled), teachers, folder, scheme_of(settings), reporter, xp)
    prepared.examples["pseudo"], targets = student_examples(prepared.texts, labels)
    return targets


def _train(settings: Settings, inputs: Inputs, out: Path, seed: int, prepared: Prepared, targets: np.ndarray | None,
           reporter: Reporter, resume: bool, stop: Callable[[], bool]) -> dict[str, Any]:
    model = prepared.model
    streams = make_streams(stream_texts(settings), prepared.examples, model, settings, seed)
    per_epoch = streams["source"].batches_per_epoch
    total = settings["train.epochs"] * per_epoch
    if settings["train.max_steps"]:
        total = min(total, settings["train.max_steps"]) if total else settings["train.max_steps"]
    method = make_method(model, streams, settings, seed, total, targets)
    training = Training(model, method, streams, prepared.evaluation, settings, out, reporter, total_steps=total,
                        eval_every=settings["train.eval_every"] or per_epoch, stop=stop)
    if resume:
        if training.checkpoint.exists():
            training.resume()
        else:                                                      # it was stopped before its first checkpoint
            (out / "log.jsonl").write_text("", encoding="utf-8")
    scores = training.run()
    info = ModelInfo(task=settings["task"], labels=prepared.labels, scheme=scheme_of(settings), family=model.family,
                     pooling=model.pooling, max_length=settings["data.max_length"], on_long=settings["data.on_long"],
                     discriminator=settings["adversary.level"], discriminator_size=settings["adversary.size"],
                     constrained=settings["decode.constrained"], method=settings["method"],
                     sources=[language for language, _ in inputs.source], seed=seed, scores=scores["test"])
    save_model(out / "model", model, prepared.tokenizer, info, prepared.raw_config)
    return _finish(out, settings, seed, scores)


def _finish(out: Path, settings: Settings, seed: int, scores: dict[str, Any]) -> dict[str, Any]:
    metrics = {"method": settings["method"], "task": settings["task"], "seed": seed, **scores}
    write_report(out, metrics)
    write_metrics(out, metrics)                                    # last: it marks a run as finished
    return metrics


def prepare(settings: Settings, inputs: Inputs, seed: int, xp: Any = np) -> Prepared:
    """Read every file, build the model, load the encoder."""
    task = settings["task"]
    if settings["method"] not in METHODS:
        raise UserError(f"method: expected one of {', '.join(METHODS)}, got {settings['method']!r}")
    if not settings["train.epochs"] and not settings["train.max_steps"]:
        raise UserError("train.epochs and train.max_steps are both 0: nothing would be trained; set one of them")
    inputs.check()
    if inputs.encoder is not None:
        read_config(inputs.encoder)                                # a mistyped folder is said before the files are read
    reading: dict[str, Any] = {"encoding": settings["data.encoding"], "scheme": settings["data.scheme"]}
    read = lambda pairs: [read_corpus(task, language, path, **reading) for language, path in pairs]
    sources = [corpus.limited(settings["data.limit"]) for corpus in read(inputs.source)]
    scheme = scheme_of(settings)
    labels = labels_of(task, sources, scheme)
    if len(labels) < 2:
        raise UserError(f"{sources[0].path}: expected at least two different labels, found only {', '.join(labels) or 'none'}")
    check_classes(sources, settings["data.min_count"])
    texts = read_texts(settings, inputs, sources)
    scored = {part: [corpus.limited(settings["data.test_limit"]) for corpus in read(getattr(inputs, part))]
              for part in ("dev", "test")}
    for corpus in scored["dev"] + scored["test"]:
        check_labels(corpus, labels_of(task, sources))
    others = [*scored["dev"], *scored["test"], *texts.get("source", []), *texts.get("target", [])]
    built = build(settings, inputs, sources, others, labels, scheme, seed, xp)
    messages = built.messages
    how = {"max_length": settings["data.max_length"], "on_long": settings["data.on_long"], "scheme": scheme}

    def read_pieces(what: str, corpora: list[Corpus], labelled: bool) -> list[Text]:
        found = [Text(corpus, encode(corpus, built.tokenizer, labels if labelled else None, **how)) for corpus in corpora]
        messages.extend(text.encoded.report(f"{what} {text.corpus.language}") for text in found)
        return found

    examples = {"labelled": examples_of(read_pieces("source", sources, True))}
    targets: list[Text] = []
    if texts:
        more = examples_of(read_pieces("unlabelled", texts["source"], False))
        targets = read_pieces("unlabelled", texts["target"], False)
        examples |= {"source": examples["labelled"] + more if more else examples["labelled"], "target": examples_of(targets)}
    elif inputs.unlabelled:
        messages.append(f"--unlabelled: not used, {settings['method']} trains on labelled text only")
    evaluation = Evaluation(task, scheme, settings, [corpus.language for corpus in sources])
    for part, corpora in scored.items():
        for corpus in corpora:
            found = encode(corpus, built.tokenizer, labels, **how)
            evaluation.add(part, corpus, found)
            messages.append(found.report(f"{part} {corpus.language}"))
    if settings["train.patience"] and not any(language in evaluation.sources for language in evaluation.files["dev"]):
        messages.append("train.patience has no effect: early stopping needs a source dev file (--dev)")
    return Prepared(built.model, built.tokenizer, built.raw_config, labels, examples,
                    {text.corpus.language: text for text in targets}, evaluation, inputs.fingerprints(), messages)


def examples_of(texts: list[Text]) -> list[Example]:
    """All of them, one text after another."""
    return [example for text in texts for example in text.encoded.examples]


def scheme_of(settings: Settings) -> str:
    """The tag scheme a model works in: "none" for what is no span."""
    if settings["task"] != "ner":
        return "none"
    if settings["model.scheme"] != "auto":
        return str(settings["model.scheme"])
    return "IOBES" if settings["model.type"] == "bilstm-crf" else "IOB2"


def read_texts(settings: Settings, inputs: Inputs, sources: list[Corpus]) -> dict[str, list[Corpus]]:
    """The unlabelled text of the source languages and of the others, where the method or one of its terms reads any."""
    if not {"source", "target", "pseudo"} & set(stream_texts(settings).values()):
        for language, path in inputs.unlabelled:
            if not path.is_file():
                found = "a directory" if path.is_dir() else "nothing"
                raise UserError(f"--unlabelled {language}={path}: expected a file, found {found}")
        return {}
    languages = {corpus.language for corpus in sources}
    corpora = [read_unlabelled(settings["task"], language, path, encoding=settings["data.encoding"])
               .limited(settings["data.unlabelled_limit"]) for language, path in inputs.unlabelled]
    texts = {"source": [c for c in corpora if c.language in languages],
             "target": [c for c in corpora if c.language not in languages]}
    if not texts["target"]:
        raise UserError(f"--unlabelled: {settings['method']} compares languages, so it needs text of another one than "
                        f"{', '.join(sorted(languages))}, for example --unlabelled es=es.txt; found "
                        f"{', '.join(c.language for c in corpora) or 'none'}")
    return texts


def make_streams(names: Mapping[str, str], examples: Mapping[str, list[Example]], model: Model, settings: Settings,
                 seed: int) -> dict[str, Stream]:
    """One independently shuffled stream for each name; they share what is kept of the frozen bottom."""
    kept: dict[int, FrozenBottom] = {}                             # the same list of examples may stand under two names
    if settings["model.keep_frozen"] and isinstance(model, Transformer):
        for text in names.values():
            kept[id(examples[text])] = FrozenBottom(model.bert, examples[text], memory_bytes=settings["model.keep_frozen_mb"] << 20)
    return {name: Stream(examples[text], settings["train.batch_size"], seed if name == "source" else [seed, 2 + i],
                         model.store.xp,
                         bottom=kept.get(id(examples[text])))
            for i, (name, text) in enumerate(names.items())}


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


def check_unused(out: Path) -> None:
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
    check_same(out, settings, inputs, seed)
    if (out / "metrics.json").is_file():
        raise UserError(f"--resume: the run in {out} is finished, its scores are in {out / 'metrics.json'}")


def check_same(out: Path, settings: Settings, inputs: Inputs, seed: int) -> None:
    before, files, number = read_run(out)
    changed = [name for name in settings if settings[name] != before[name]]
    if changed:
        name = changed[0]
        raise UserError(f"--resume: {name} was {before[name]!r} when the run began, now it is {settings[name]!r}")
    if seed != number or files != inputs:
        raise UserError(f"--resume: the inputs or the seed differ from those in {out / 'config.toml'}; leave them out to "
                        f"continue that run")


def _check_unchanged(before: dict[str, str], now: dict[str, str]) -> None:
    changed = next((path for path, digest in before.items() if now.get(path) != digest), None)
    if changed:
        raise UserError(f"--resume: {changed} has changed since the run began")
