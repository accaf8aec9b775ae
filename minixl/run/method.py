"""The interface between a run and its method: a run knows the losses, stages and settings of its Method only through it.

A method declares its settings, its objective (training/objective.py) and the text that the objective reads; checks the
user's settings and files before anything is written; and runs.  A method with one stage trains its objective; one with
several calls them in order in run(job).  A Term is an objective that a setting adds to any method.

minixl.methods has the tables of methods and terms.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.models.discriminators import NO_DISCRIMINATOR, Discriminator
from minixl.run.once import Content, Origin
from minixl.run.prepared import Prepared, Texts, examples_of
from minixl.settings import Section, Settings
from minixl.training.loop import Training
from minixl.training.objective import Composition, Loss, Objective
from minixl.training.progress import Reporter, Stop

LABELLED = "labelled"                  # the text of the labelled source files; every run has it

Scores = dict[str, Any]                # content of metrics.json: test, last, oracle, steps, ...


class Trained(NamedTuple):
    """A finished stage."""

    folder: Path
    scores: Scores

    @property
    def model(self) -> Path:
        """Its model folder."""
        return self.folder / "model"


class Job(Protocol):
    """A run in progress, as a method's run(job) sees it; minixl.run.job.Run implements it."""

    settings: Settings
    inputs: Inputs
    seed: int
    folder: Path                       # of this run
    shared: Path                       # of all runs that differ only in their seed
    prepared: Prepared
    reporter: Reporter
    xp: Any

    @property
    def stop(self) -> Stop:
        """A function that says whether the run should stop."""

    def train(self, method: Method, name: str = "", *, settings: Settings | None = None, seed: int | None = None,
              shared: bool = False, title: str = "") -> Trained:
        """Train one stage: the last one in the run's own folder, any other in the folder `name` inside it.

        An interrupted stage continues where it stopped; a finished one is not trained again.
        """

    def once(self, file: Path, kind: str, made_from: Origin, make: Callable[[], Content],
             elsewhere: Sequence[Path] = ()) -> Content:
        """Make a file once, atomically, with a record of what it was made from; run/once.py."""


class Term(Objective):
    """An objective that a setting, SWITCH, adds to any method; its steps follow those of the method."""

    SECTION: ClassVar[Section]
    SWITCH: ClassVar[str]              # the setting that turns it on, for messages
    ON: ClassVar[str]                  # an assignment that turns it on
    OFF: ClassVar[str]                 # and one that turns it off
    FAMILY: ClassVar[str] = "transformer"     # the only family of models that it can train; "": any

    @classmethod
    def active(cls, settings: Mapping[str, Any]) -> bool:
        """Whether these settings turn the term on; unless a term says otherwise, SWITCH is a choice and "none" turns it off."""
        return bool(settings[cls.SWITCH] != "none")

    @classmethod
    def texts(cls, settings: Settings, prepared: Prepared, seed: int) -> Texts:
        """Return the texts that its STREAMS name, except LABELLED."""
        return {}


class Method:
    """Base class of the methods; an instance holds no state of a run."""

    name: ClassVar[str] = ""                           # settings["method"]
    sections: ClassVar[Sequence[Section]] = ()         # settings of its own
    objective: ClassVar[type[Objective]]
    family: ClassVar[str] = ""                         # the only family of models that it can train; "": any
    needs_unlabelled: ClassVar[bool] = False           # text in a target language, whatever its terms
    reads_raw_text: ClassVar[bool] = False             # it reads the --unlabelled files itself, line by line
    labels_optional: ClassVar[bool] = False            # it can train something without labelled text
    finishes_model: ClassVar[bool] = False             # it trains what a new model lacks (NewModel.unfinished) before its tags
    shares_stages: ClassVar[bool] = False              # runs that differ only in their seed have some stages in common
    terms_of_stages: ClassVar[Sequence[type[Term]]] = ()     # terms of its earlier stages, whatever the settings
    if_nothing_learned: ClassVar[str] = "train longer (train.epochs) or with a higher learning rate (optim.lr, optim.head_lr)"

    def __init__(self, terms: Sequence[type[Term]] = ()) -> None:
        """terms: the terms that settings can add to the method."""
        self.terms = tuple(terms)

    # its objectives

    def active_terms(self, settings: Settings) -> list[type[Term]]:
        """Return the terms that these settings add."""
        return [term for term in self.terms if term.active(settings)]

    def objectives(self, settings: Settings) -> list[type[Objective]]:
        """Return its own objective and the terms that the settings add."""
        return [self.objective, *self.active_terms(settings)]

    def losses(self, settings: Settings) -> dict[str, Loss]:
        """Return the losses of its last stage."""
        return {name: loss for objective in self.objectives(settings) for name, loss in objective.LOSSES.items()}

    def losses_of_all_stages(self, settings: Settings) -> dict[str, Loss]:
        """Return the losses that early stopping may watch in any stage."""
        return self.losses(settings) | {name: loss for term in self.terms_of_stages for name, loss in term.LOSSES.items()}

    def discriminator(self, settings: Settings) -> Discriminator:
        """Return the language discriminator that the model needs."""
        needed = [objective.discriminator(settings) for objective in self.objectives(settings)]
        return next((discriminator for discriminator in needed if discriminator != NO_DISCRIMINATOR), NO_DISCRIMINATOR)

    def make_objective(self, model: Any, streams: Mapping[str, Any], settings: Settings, seed: int,
                       total_steps: int) -> Objective:
        """Return the objective of one stage, with the terms that the settings add."""
        arguments = (model, streams, settings, seed, total_steps)
        main, terms = self.own_objective(*arguments), [term(*arguments) for term in self.active_terms(settings)]
        return Composition(main, terms) if terms else main

    def own_objective(self, *arguments: Any) -> Objective:
        """Return its objective without terms.  A stage that learns from data of its own passes them to the objective here."""
        return self.objective(*arguments)

    def make_training(self, settings: Settings, seed: int, prepared: Prepared, folder: Path, reporter: Reporter,
                      stop: Stop) -> Training | None:
        """Return the training of a stage that does not train a tagger or classifier on labelled text; None for one that does."""
        return None

    def save_model(self, settings: Settings, prepared: Prepared, folder: Path, scores: Scores) -> bool:
        """Write the model folder of such a stage; return whether it was written."""
        return False

    # the text it reads

    def prepare(self, settings: Settings, inputs: Inputs, seed: int, xp: Any) -> Prepared | None:
        """Read and check what such a stage needs; None: labelled text and a model for it, as in run/prepare.py."""
        return None

    def streams(self, settings: Settings) -> dict[str, str]:
        """Return stream -> the text that it reads."""
        return {stream: text for objective in self.objectives(settings) for stream, text in objective.STREAMS.items()}

    def unlabelled_needed_by(self, settings: Settings) -> str:
        """Return the method or setting that needs unlabelled text, for messages; "" if none does."""
        if self.needs_unlabelled:
            return self.name
        terms = [term for term in self.active_terms(settings) if set(term.STREAMS.values()) - {LABELLED}]
        return terms[0].SWITCH if terms else ""

    def texts(self, settings: Settings, prepared: Prepared, seed: int) -> Texts:
        """Return the texts that its streams name."""
        texts: Texts = {LABELLED: examples_of(prepared.sources)}
        for term in self.active_terms(settings):
            texts |= term.texts(settings, prepared, seed)
        return texts

    # checks before anything is written

    def resolve(self, settings: Settings) -> tuple[Settings, list[str]]:
        """Rewrite a variant as ordinary settings, perhaps of another method; returns them and messages for the user."""
        return settings, []

    def check(self, settings: Settings, inputs: Inputs) -> None:
        """Raises UserError for settings and inputs that do not fit, before any file is read."""
        family = settings["model.type"]
        if self.family and family != self.family:
            raise UserError(f"model.type: method {self.name} compares the hidden states of a {self.family}, got {family}; "
                            "use a recipe with an encoder, or another method")
        for term in self.active_terms(settings):
            if term.FAMILY not in ("", family):
                raise UserError(f"{term.SWITCH}: expected a {term.FAMILY}, found a {family}; --set {term.OFF}")

    def check_prepared(self, settings: Settings, inputs: Inputs, prepared: Prepared) -> list[str]:
        """Return messages for the user.  Raises UserError for text or a model that does not fit."""
        for objective in (*self.objectives(settings), *self.terms_of_stages):
            objective.check_model(prepared.model, settings)
        return []

    def check_seeds(self, settings: Settings, inputs: Inputs, seeds: Sequence[int]) -> None:
        """Raises UserError if the runs of several seeds would be equal."""

    # training and report

    def run(self, job: Job) -> Scores:
        """Train all stages and return the scores of the last one."""
        return job.train(self).scores

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        """Return the method's own sections of the run's page, as HTML."""
        return []
