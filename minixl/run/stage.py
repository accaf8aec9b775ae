"""Train one stage: make the streams that its objective reads, run the loop, continue after an interruption."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minixl.building import family_of
from minixl.data.batching import Stream
from minixl.data.encoding import Example
from minixl.errors import WARNING
from minixl.models.family import Model
from minixl.run.method import Method, Scores
from minixl.run.prepared import Prepared
from minixl.settings import Settings
from minixl.training.loop import Training
from minixl.training.memory import reset_peak_memory
from minixl.training.objective import Objective
from minixl.training.progress import Reporter, Stop
from minixl.training.stopping import TASK
from minixl.training.update import Diverged

SOURCE = "source"                      # one pass over this stream is an epoch


def make_training(method: Method, settings: Settings, seed: int, prepared: Prepared, folder: Path, reporter: Reporter,
                  stop: Stop = lambda: False) -> Training:
    """Return the training of the method's objective in `folder`, before its first step; writes nothing that stays."""
    own = method.make_training(settings, seed, prepared, folder, reporter, stop)
    if own is not None:
        return own
    model, texts = prepared.model, method.texts(settings, prepared, seed)
    streams = make_streams(method.streams(settings), texts, model, settings, seed, folder)
    per_epoch = streams[SOURCE].batches_per_epoch
    total = settings["train.epochs"] * per_epoch
    if settings["train.max_steps"]:
        total = min(total, settings["train.max_steps"]) if total else settings["train.max_steps"]
    objective = method.make_objective(model, streams, settings, seed, total)
    return Training(model, objective, streams, prepared.evaluation, settings, folder, reporter, total_steps=total,
                    eval_every=settings["train.eval_every"] or per_epoch, stop=stop,
                    if_nothing_learned=method.if_nothing_learned)


def train_stage(method: Method, settings: Settings, seed: int, prepared: Prepared, folder: Path, reporter: Reporter, stop: Stop,
                *, resume: bool) -> Scores:
    """Train the method's objective in `folder` and return the scores.  Afterwards the model has the selected parameters."""
    reset_peak_memory()                                            # do not count earlier runs of this process
    training = make_training(method, settings, seed, prepared, folder, reporter, stop)
    if resume and training.checkpoint.exists():
        training.resume()
    elif resume:
        if any(path.is_file() and path.stat().st_size for path in (training.log.path, *training.checkpoint.folder.glob("*"))):
            reporter.message(f"{WARNING}{training.checkpoint.folder / 'latest.json'} is not there: training begins at step 0 again")
        training.log.clear()
    try:
        return training.run()
    except FloatingPointError as error:
        raise FloatingPointError(f"{_diverged(error, training.objective, training.steps)}; --resume would fail again: choose a new "
                                 "--out folder") from None


def make_streams(names: Mapping[str, str], texts: Mapping[str, list[Example]], model: Model, settings: Settings, seed: int,
                 folder: Path) -> dict[str, Stream]:
    """Make an independently shuffled stream for each name; streams over the same examples share the states of frozen layers."""
    content = {stream: tuple(map(id, texts[text])) for stream, text in names.items()}  # a text may have two names
    different = {content[stream]: texts[text] for stream, text in names.items()}
    kept = dict(zip(different, family_of(settings).kept_states(settings, model, list(different.values()), folder), strict=True))
    return {stream: Stream(texts[text], settings["train.batch_size"], seed if stream == SOURCE else [seed, 2 + i],
                           model.store.xp, bottom=kept[content[stream]])
            for i, (stream, text) in enumerate(names.items())}


def _diverged(error: FloatingPointError, objective: Objective, step: int) -> str:
    """Say which update diverged and which learning rates may be the reason."""
    losses = objective.losses
    if not isinstance(error, Diverged):                            # at an evaluation, which names the task's rate
        others = ", ".join(loss.rates for name, loss in losses.items() if name != TASK)
        return f"{error}{f', or that of another update ({others})' if others else ''}"
    others = ", ".join(loss.rates for name, loss in losses.items() if name != error.loss)
    earlier = f" or that of an earlier update ({others})" if others else ""
    return (f"step {step + 1}, {error.loss} update: {error}: its learning rate ({losses[error.loss].rates}){earlier} is too high, "
            "or the data is broken")
