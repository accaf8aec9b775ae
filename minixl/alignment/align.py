"""`minixl align`: learn a map for each target language, refine it, score it, and write all vectors in one space.

    check the options; read all files and check them
    lock the folder; config.toml
    for each target:    `align.restarts` attempts with the seeds that follow, each in a file of its own
                        the attempt with the best criterion; no dictionary is read for that
                        refine it; is it better than chance?
    vectors, induced dictionaries, metrics.json

Test: tests/alignment/test_align.py
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np

from minixl.alignment.dictionaries import Dictionary, read_dictionary, shared_words
from minixl.alignment.evaluation import precision
from minixl.alignment.export import write_dictionary, write_language
from minixl.alignment.learners import AdversarialLearner, Learner, PairsLearner, SimilarityLearner
from minixl.alignment.normalization import unit
from minixl.alignment.picture import WORDS, picture
from minixl.alignment.refinement import refine
from minixl.alignment.retrieval import chance_cosine, search_engine
from minixl.alignment.spaces import Space, read_spaces
from minixl.alignment.storage import METRICS, check_config, load_arrays, save_arrays, write_config
from minixl.backend import Array, array_module, to_numpy
from minixl.data.lines import raw_lines
from minixl.errors import WARNING, UserError
from minixl.files import write_atomically
from minixl.settings import Settings

SUCCESS = 0.3                                      # of the way from a random rotation's criterion to 1: below it, a map has failed
OTHER = {"adversarial": "similarity", "similarity": "adversarial", "identical": "similarity", "dictionary": "similarity"}
SAVE_EVERY = 60.0                                  # seconds between two checkpoints of an attempt


class Stopped(Exception):
    """Stopped on request; what is needed to continue is on disk."""


class Reporter(Protocol):
    """Shows messages and the progress of an attempt."""

    def message(self, text: str) -> None: ...
    def start(self, total: int, done: int, label: str) -> None: ...
    def advance(self, steps: int, text: str) -> None: ...
    def finish(self) -> None: ...


class Request(NamedTuple):
    """What `minixl align` is asked for."""

    source: tuple[str, str]                        # language, path of its vectors
    targets: Mapping[str, str]                     # language -> path
    dictionaries: Mapping[str, str]                # target language -> dictionary that the map is learnt from
    evaluations: Mapping[str, str]                 # target language -> dictionary that the map is scored on
    settings: Settings
    seed: int


class Inputs(NamedTuple):
    """The content of all files."""

    spaces: dict[str, Space]                       # language ->
    pairs: dict[str, np.ndarray | None]            # target language -> pairs (p, 2) that its map is learnt from; None: from none
    gold: dict[str, Dictionary]                    # target language -> what its map is scored on


class Mapped(NamedTuple):
    """A target's map and what is known about it."""

    mapping: np.ndarray                            # W (H, H)
    moves: str                                     # the language that W maps: source or target
    metrics: dict[str, Any]


def align(request: Request, out: Path, reporter: Reporter, *, xp: Any = np, resume: bool = False,
          stop: Callable[[], bool] = lambda: False, lock: AbstractContextManager[Any] | None = None) -> dict[str, Any]:
    """Run everything; return what metrics.json holds.

    lock: creates the folder and locks it; entered when everything has been read, left when everything is written.
    Raises UserError for input that cannot be aligned, before anything is written; Stopped when stop() became true.
    """
    begin = perf_counter()
    settings, (source, _) = request.settings, request.source
    check_request(request)
    if resume:                                     # before all vectors are read, which takes minutes
        check_config(out, settings, request.seed, _files(request))
    inputs = _read(request, reporter)
    with lock or nullcontext():
        if not resume:
            write_config(out, settings, request.seed, _files(request))
        mapped = {target: _map(request, inputs, target, out / target, reporter, stop, xp) for target in request.targets}
        for target, one in mapped.items():
            _write_target(request, inputs.spaces, target, one, out / target, xp)
        if settings["align.export"] != "none":
            for language, space in inputs.spaces.items():
                write_language(out, space, _map_of(language, request, mapped), settings, reporter.message)
        metrics = {"method": settings["method"], "seed": request.seed, "source": source,
                   "targets": {target: one.metrics for target, one in mapped.items()}, "seconds": round(perf_counter() - begin, 1)}
        write_atomically(out / METRICS, json.dumps(metrics, indent=2) + "\n")
    return metrics


def check_request(request: Request) -> None:
    """Raise UserError for options that do not go together, a file that does not exist, and a search that is not installed."""
    method, (source, _) = request.settings["method"], request.source
    if source in request.targets:
        raise UserError(f"--target {source}: expected another language than --source {source}; give one of them another name")
    for option, files in (("--dictionary", request.dictionaries), ("--evaluate", request.evaluations)):
        for language in files:
            if language not in request.targets:
                raise UserError(f"{option} {language}: expected one of the target languages, {', '.join(request.targets)}")
    if method == "dictionary":
        missing = [target for target in request.targets if target not in request.dictionaries]
        if missing:
            raise UserError(f"--method dictionary: expected --dictionary {missing[0]}=FILE as well")
    elif request.dictionaries:
        raise UserError(f"--dictionary: --method {method} reads no dictionary; give --method dictionary, or --evaluate to score a "
                        "map")
    if request.settings["align.map"] == "source" and len(request.targets) > 1:
        raise UserError("align.map=source: with several targets the shared space is the source's; use align.map=target or auto")
    search_engine(request.settings["align.search"])
    for path in (path for files in _files(request).values() for path in files.values()):
        if not Path(path).exists() or Path(path).is_dir():         # of all files, as it takes minutes to read the first
            next(raw_lines(path), None)                            # raises UserError with the nearest name


def moving_language(settings: Settings, targets: int) -> str:
    """Return which language is mapped, source or target."""
    moves = settings["align.map"]
    return ("source" if targets == 1 else "target") if moves == "auto" else moves


def shared_space(mapped: Mapped, x: Array, y: Array) -> tuple[Array, Array]:
    """x (n, H) of the source, y (m, H) of the target, normalised -> unit vectors in the shared space."""
    weight = array_module(x).asarray(mapped.mapping)
    return (unit(x @ weight.T), unit(y)) if mapped.moves == "source" else (unit(x), unit(y @ weight.T))


def _files(request: Request) -> dict[str, Mapping[str, str]]:
    """Return role -> language -> path, as config.toml has it."""
    return {"source": dict([request.source]), "target": request.targets, "dictionary": request.dictionaries,
            "evaluate": request.evaluations}


def _read(request: Request, reporter: Reporter) -> Inputs:
    """Read all files and check them."""
    settings, (source, path) = request.settings, request.source
    spaces = read_spaces({source: path, **request.targets}, settings["align.top"], settings["align.normalize"], reporter.message)
    return Inputs(spaces, {target: _pairs(request, spaces, target) for target in request.targets},
                  {target: read_dictionary(path, spaces[source].words, spaces[target].words)
                   for target, path in request.evaluations.items()})


def _pairs(request: Request, spaces: Mapping[str, Space], target: str) -> np.ndarray | None:
    """Return the pairs (p, 2) that the method learns a target's map from; None for an unsupervised one."""
    words = spaces[request.source[0]].words, spaces[target].words
    if request.settings["method"] == "identical":
        return shared_words(*words, request.settings["align.shared_words"])
    return read_dictionary(request.dictionaries[target], *words).rows if target in request.dictionaries else None


def _write_target(request: Request, spaces: Mapping[str, Space], target: str, mapped: Mapped, folder: Path, xp: Any) -> None:
    """Write a target's pictures and its induced dictionary; add the number of its pairs to the metrics."""
    settings, source = request.settings, request.source[0]
    x, y = shared_space(mapped, *(xp.asarray(spaces[language].matrix) for language in (source, target)))
    _draw(folder / "picture.json", spaces, (source, target), x, y, settings, request.seed)
    mapped.metrics["dictionary_pairs"] = write_dictionary(folder / "dictionary.tsv", x, y, spaces[source].words,
                                                          spaces[target].words, search_engine(settings["align.search"]))


def _draw(path: Path, spaces: Mapping[str, Space], languages: tuple[str, str], x: Array, y: Array, settings: Settings,
          seed: int) -> None:
    """Write the points of both pictures.  x, y: in the shared space."""
    kind = settings["align.picture"]
    if kind == "none":
        return
    before = [spaces[language].matrix[:WORDS] for language in languages]
    after = [to_numpy(matrix[:WORDS]) for matrix in (x, y)]
    drawn = {"kind": kind, "words": [spaces[language].words.words[:WORDS] for language in languages],
             "before": picture(before[0], before[1], kind, seed), "after": picture(after[0], after[1], kind, seed)}
    write_atomically(path, json.dumps(drawn, ensure_ascii=False))


def _map(request: Request, inputs: Inputs, target: str, folder: Path, reporter: Reporter, stop: Callable[[], bool],
         xp: Any) -> Mapped:
    """Learn, refine and score the map of one target."""
    settings, moves = request.settings, moving_language(request.settings, len(request.targets))
    source, pairs, gold = request.source[0], inputs.pairs[target], inputs.gold.get(target)
    x, y = (xp.asarray(inputs.spaces[language].matrix) for language in (source, target))       # (n, H), (m, H)
    label, engine = f"{source}-{target}", search_engine(settings["align.search"])
    moving, fixed, learnt_from = (x, y, pairs) if moves == "source" else (y, x, None if pairs is None else pairs[:, ::-1])
    attempts = []
    for number in range(1, (1 if pairs is not None else settings["align.restarts"]) + 1):
        learner = _learner(settings, moving, fixed, learnt_from, request.seed, number, engine)
        attempts.append(_attempt(learner, folder / f"restart-{number}.safetensors", f"{label} attempt {number}", reporter, stop))
    mapping, best = max(attempts, key=lambda attempt: attempt[1]["criterion"])        # the first of equal ones
    learnt = mapping
    if settings["refine.self_learning"]:
        learner = SimilarityLearner(moving, fixed, settings, request.seed, engine, array_module(x).asarray(mapping))
        mapping, _ = _attempt(learner, folder / "self-learning.safetensors", f"{label} self-learning", reporter, stop)
    curve: list[dict[str, float]] = []
    refined, value = refine(array_module(x).asarray(mapping), moving, fixed, settings,
                            lambda step, criterion: curve.append({"step": step, "criterion": criterion}), engine=engine)
    chance = chance_cosine(unit(moving), unit(fixed), settings["align.criterion_words"], np.random.default_rng(request.seed),
                           engine=engine)
    metrics: dict[str, Any] = {
        "criterion": value, "chance": chance, "failed": value < chance + SUCCESS * (1 - chance),
        "attempts": [{"seed": request.seed + i, **values} for i, (_, values) in enumerate(attempts)],
        "selected_seed": request.seed + [values for _, values in attempts].index(best), "refinement": curve}
    result = Mapped(to_numpy(refined), moves, metrics)
    save_arrays(folder / "mapping.safetensors", {"mapping": result.mapping}, {"moves": moves, "criterion": value})
    if gold is not None:
        for stage, one in (("unrefined", result._replace(mapping=learnt)), ("refined", result)):
            metrics[stage] = precision(*shared_space(one, x, y), gold, engine=engine)
    if metrics["failed"]:
        reporter.message(failure(label, metrics, settings["method"]))
    return result


def failure(label: str, metrics: Mapping[str, Any], method: str) -> str:
    """Return the warning about a map that aligns little more than a random rotation does."""
    return (f"{WARNING}{label}: THE MAP HAS FAILED: its criterion is {metrics['criterion']:.3f}, that of a random rotation "
            f"{metrics['chance']:.3f}, and a map that works is well above; do not use it. Try --method {OTHER[method]}, more "
            "--restarts, or a seed dictionary (--method identical, --method dictionary)")


def _learner(settings: Settings, x: Array, y: Array, pairs: np.ndarray | None, seed: int, number: int, engine: Any) -> Learner:
    """Make the attempt of this number, from 1; every second one of the adversarial method begins from a reflection."""
    if pairs is not None:
        return PairsLearner(x, y, pairs, settings, engine)
    if settings["method"] == "adversarial":
        return AdversarialLearner(x, y, settings, seed + number - 1, engine, reflected=number % 2 == 0)
    return SimilarityLearner(x, y, settings, seed + number - 1, engine)


def _attempt(learner: Learner, path: Path, label: str, reporter: Reporter,
             stop: Callable[[], bool]) -> tuple[np.ndarray, dict[str, Any]]:
    """Run one attempt to its end, or read it if it is finished; return W and {"criterion": ..., "curve": [...]}.

    Raises Stopped, after saving a checkpoint.
    """
    if path.is_file():
        arrays, values = load_arrays(path)
        return arrays["mapping"], values
    checkpoint = path.with_suffix(".checkpoint")
    curve: list[dict[str, float]] = []
    done = 0
    if checkpoint.is_file():
        arrays, values = load_arrays(checkpoint)
        learner.restore(arrays, values["learner"])
        curve, done = values["curve"], values["done"]
    saved = perf_counter()
    reporter.start(learner.steps, done, label)
    try:
        while not learner.ended:
            progress = learner.advance()
            done += progress.steps
            if progress.point:
                curve.append({"step": done, **progress.point})
            reporter.advance(progress.steps, " ".join(f"{name} {curve[-1][name]:.3f}" for name in ("criterion", "objective")
                                                      if curve and name in curve[-1]))
            stopping = stop() and not learner.ended
            if stopping or perf_counter() - saved > SAVE_EVERY:
                arrays, values = learner.state()
                save_arrays(checkpoint, arrays, {"learner": values, "curve": curve, "done": done})
                saved = perf_counter()
            if stopping:
                raise Stopped
    finally:
        reporter.finish()
    values = {"criterion": learner.best, "curve": curve}
    mapping = to_numpy(learner.mapping)
    save_arrays(path, {"mapping": mapping}, values)
    checkpoint.unlink(missing_ok=True)
    return mapping, values


def _map_of(language: str, request: Request, mapped: Mapping[str, Mapped]) -> np.ndarray | None:
    """Return the map (H, H) of a language's vectors into the shared space; None if they stay where they are."""
    if language == request.source[0]:
        only = next(iter(mapped.values()))
        return only.mapping if only.moves == "source" else None
    return mapped[language].mapping if mapped[language].moves == "target" else None
