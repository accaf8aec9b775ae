"""The stage that trains the language model: what it reads, its loop, what it leaves.

    OUT/language-model/                 a run folder; without labelled text, OUT itself
    OUT/language-model/text/            the text as numbers, until the stage has finished (data/monolingual.py)
    OUT/language-model/log.jsonl        also the perplexity of every language and direction at every evaluation
    OUT/language-model/model/           the language model (building/language_model.py)
"""
from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from minixl.building.language_model import new_language_model, raw_texts, read_vocabularies, save_language_model
from minixl.data.inputs import Inputs
from minixl.data.language_lexicon import LanguageLexicon
from minixl.data.monolingual import SentenceStream, Text, encode_text, is_encoded, open_encoded, remove_encoded
from minixl.errors import WARNING, UserError
from minixl.evaluation.files import Evaluation
from minixl.methods.mlma.language_model import LanguageModeling, layer_measures, perplexities, shared_rows
from minixl.methods.mlma.page import perplexity_section
from minixl.methods.mlma.settings import NAME, stage_settings
from minixl.models.bidirectional_lm_config import DIRECTIONS
from minixl.run.method import Method, Scores
from minixl.run.prepared import Prepared
from minixl.settings import Settings
from minixl.training.loop import Training
from minixl.training.progress import Reporter, Stop, check_stop

TEXT = "text"                          # folder of the text as numbers


@dataclass
class RawText(Prepared):
    """What the stage has read and checked."""

    texts: list[Text]
    vectors: bool                      # whether the word tables begin with given vectors


class LanguageModelTraining(Training):
    """The loop, with perplexities in place of scores: nothing is selected, the model is that of the last step."""

    perplexity: Mapping[str, Mapping[str, float]] | None = None        # at the last evaluation

    def evaluate(self) -> None:
        """Measure and log the perplexities of the held-out sentences."""
        self.perplexity = perplexities(self.model, self.streams)       # type: ignore[arg-type]
        self.log.evaluation(self.steps, {"dev": {}}, perplexity=self.perplexity)
        figures = ", ".join(f"{language} {' and '.join(f'{of[direction]:.1f}' for direction in DIRECTIONS)}"
                            for language, of in self.perplexity.items())
        self.reporter.message(f"step {self.steps}: perplexity, {' and '.join(DIRECTIONS)}: {figures}")

    def final_scores(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        perplexity = self.perplexity or perplexities(self.model, self.streams)         # type: ignore[arg-type]
        return {"test": {}, "last": {}, "oracle": {}, "perplexity": perplexity, **self.effort()}


class LanguageModelStage(Method):
    """Trains the language model from raw text."""

    name = NAME
    objective = LanguageModeling
    reads_raw_text = labels_optional = True

    def __init__(self, lexicon: LanguageLexicon | None = None) -> None:
        """lexicon: the vocabularies, if they are known; None: count the words of the text."""
        super().__init__()
        self.lexicon = lexicon

    def prepare(self, settings: Settings, inputs: Inputs, seed: int, xp: Any) -> Prepared:
        inputs.check(labelled=False)
        if not inputs.unlabelled:
            raise UserError("--unlabelled: expected raw text of every language, for example --unlabelled en=en.txt "
                            "--unlabelled es=es.txt.gz")
        lexicon = self.lexicon or read_vocabularies(settings, inputs)
        messages = check_languages(settings, inputs, lexicon)
        model: Any = new_language_model(settings, inputs, lexicon, seed, messages.append, xp)
        messages.append(f"language model: {model.store.count():,} weights, of which "
                        f"{sum(model.store[table].value.size for table in model.tables):,} are word vectors")
        return RawText(model, lexicon, {}, [], [], [], {}, Evaluation(settings["task"], "none", settings, []),
                       inputs.fingerprints(), messages, raw_texts(settings, inputs), bool(inputs.vectors))

    def make_training(self, settings: Settings, seed: int, prepared: Prepared, folder: Path, reporter: Reporter,
                      stop: Stop) -> Training:
        assert isinstance(prepared, RawText) and isinstance(prepared.tokenizer, LanguageLexicon)
        own, lexicon, model = stage_settings(settings), prepared.tokenizer, prepared.model
        streams: dict[str, Any] = {}
        for number, text in enumerate(prepared.texts):
            check_stop(stop)
            if not is_encoded(text.language, folder / TEXT):
                vocabulary = lexicon.words_of(text.language)
                reporter.message(encode_text(text, vocabulary, folder / TEXT).line(text, len(vocabulary)))
            streams[text.language] = SentenceStream(open_encoded(text.language, folder / TEXT), own["language_model.tokens"],
                                                    own["language_model.held_out"], [seed, number], model.store.xp)
        objective = LanguageModeling(model, streams, own, seed, own["train.max_steps"], lexicon=lexicon, vectors=prepared.vectors)
        return LanguageModelTraining(model, objective, streams, prepared.evaluation, own, folder, reporter,
                                     total_steps=own["train.max_steps"], eval_every=own["train.eval_every"], stop=stop)

    def save_model(self, settings: Settings, prepared: Prepared, folder: Path, scores: Scores) -> bool:
        model: Any = prepared.model
        assert isinstance(prepared.tokenizer, LanguageLexicon)
        notes = {"method": NAME, "perplexity": scores["perplexity"], "steps": scores["steps"]}
        save_language_model(folder, model, prepared.tokenizer, notes)
        for language in model.config.languages:
            remove_encoded(language, folder.parent / TEXT)
        with suppress(OSError):
            (folder.parent / TEXT).rmdir()
        return True

    def report(self, folder: Path, metrics: Mapping[str, Any]) -> list[str]:
        return perplexity_section(folder)


def check_languages(settings: Settings, inputs: Inputs, lexicon: LanguageLexicon) -> list[str]:
    """Return messages for the user.  Raises UserError for vectors of some languages only, and for two that share no word."""
    languages = list(lexicon.languages)
    with_vectors = [language for language, _ in inputs.vectors]
    other = sorted(set(with_vectors) ^ set(languages)) if with_vectors else []
    if other:
        cure = f"--vectors {other[0]}=FILE is missing" if other[0] in languages else f"leave out --vectors {other[0]}=..."
        raise UserError(f"--vectors: expected one file for each language of the language model ({', '.join(languages)}), found "
                        f"{', '.join(with_vectors)}; {cure}")
    if settings["mlma.identical_strings"]:
        for first, second in combinations(languages, 2):
            if not len(shared_rows(lexicon, first, second)[0]):
                raise UserError(f"mlma.identical_strings: expected words that {first} and {second} share, found none; use another "
                                "term, such as mlma.average_linkage")
    aligned = layer_measures(settings, len(languages)) or settings["mlma.identical_strings"]
    if aligned and len(languages) == 1:
        return [f"{WARNING}--unlabelled: text in one language only, {languages[0]}, so there is nothing to align"]
    return []
