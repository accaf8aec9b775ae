"""The language model of several languages: its vocabularies from raw text, a new one, its folder.

    config.json          sizes and languages (models/bidirectional_lm_config.py)
    model.safetensors    the parameters
    lexicon.json         the vocabularies (data/language_lexicon.py)
    minixl.json          what it is, and its perplexities
    README.md            the model card
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minixl import __version__
from minixl.backend import to_numpy
from minixl.building.bilstm_crf import MLMA
from minixl.building.info import COPY, LANGUAGE_MODEL
from minixl.data.inputs import Inputs, by_language
from minixl.data.language_lexicon import SPECIAL, LanguageLexicon
from minixl.data.monolingual import Text, count_words, most_frequent
from minixl.distributed import on_one_rank
from minixl.errors import UserError
from minixl.models.bidirectional_lm import BidirectionalLm
from minixl.models.bidirectional_lm_config import LanguageModelConfig, language_model_shapes
from minixl.settings import Section, Setting, Settings
from minixl.weights.folder import check_parameters, load_parameters, read_json, save_folder
from minixl.weights.word_vectors import read_vectors

SECTION = Section("mlma: the language model", {
    "language_model.layers": Setting(6, "transformer blocks in each direction", at_least=1),
    "language_model.heads": Setting(8, "attention heads", at_least=1),
    "language_model.hidden": Setting(512, "size of states and word vectors; --vectors need this size", at_least=2),
    "language_model.intermediate": Setting(2048, "size of the inner layer of a block", at_least=1),
    "language_model.dropout": Setting(0.1, "dropout in the language model", at_least=0, at_most=0.99),
    "language_model.vocabulary": Setting(200000, "the most frequent words of each language that have a vector, the end of a "
                                         "sentence and the unknown word included", at_least=SPECIAL + 2),
    "language_model.tokenised": Setting(False, "the words of the raw text are separated by spaces; otherwise minixl finds them"),
    "language_model.shortest": Setting(3, "lines with fewer words are left out", at_least=1),
    "language_model.longest": Setting(200, "lines with more words are left out", at_least=2),
}, used=lambda settings: settings["model.type"] == MLMA)

Report = Callable[[str], None]


def raw_texts(settings: Settings, inputs: Inputs) -> list[Text]:
    """Return the raw text of each language, --unlabelled."""
    return [Text(language, paths, settings["data.encoding"], settings["language_model.tokenised"],
                 settings["language_model.shortest"], settings["language_model.longest"], settings["data.unlabelled_limit"])
            for language, paths in by_language(inputs.unlabelled).items()]


def read_vocabularies(settings: Settings, inputs: Inputs) -> LanguageLexicon:
    """Count the words of the raw text of each language and return their vocabularies."""
    return LanguageLexicon.of_languages({text.language: most_frequent(count_words(text), settings["language_model.vocabulary"])
                                         for text in raw_texts(settings, inputs)})


def config_of(settings: Settings, lexicon: LanguageLexicon) -> LanguageModelConfig:
    """Return the configuration of a new language model with these vocabularies."""
    sizes = {language: size + SPECIAL for language, size in lexicon.languages.items()}
    return LanguageModelConfig(
        sizes, hidden_size=settings["language_model.hidden"], num_hidden_layers=settings["language_model.layers"],
        num_attention_heads=settings["language_model.heads"], intermediate_size=settings["language_model.intermediate"],
        dropout=settings["language_model.dropout"], tokenised=settings["language_model.tokenised"])


def new_language_model(settings: Settings, inputs: Inputs, lexicon: LanguageLexicon, seed: int, report: Report,
                       xp: Any = np) -> BidirectionalLm:
    """Return a language model with random parameters, its word tables perhaps with the vectors of --vectors."""
    model = BidirectionalLm(config_of(settings, lexicon), xp=xp)
    model.initialise(np.random.Generator(np.random.PCG64([seed, 1])))
    tables = {language: _vectors(language, path, lexicon, model.config.hidden_size, report) for language, path in inputs.vectors}
    if tables:
        length = np.concatenate([np.linalg.norm(vectors, axis=1) for _, vectors in tables.values()]).mean()
        for language, (rows, vectors) in tables.items():                # a mean length of 1, that of random vectors
            model.table(language)[xp.asarray(rows)] = xp.asarray(vectors / length, model.store.dtype)
    return model


def _vectors(language: str, path: Path, lexicon: LanguageLexicon, size: int, report: Report) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (n,) of a word table that a file has vectors for, and these (n, H).  Raises UserError for another size."""
    table = read_vectors(path, report=report)
    if table.matrix.shape[1] != size:
        raise UserError(f"--vectors {language}={path}: expected vectors of {size} numbers, language_model.hidden, found "
                        f"{table.matrix.shape[1]}; --set language_model.hidden={table.matrix.shape[1]}")
    place: dict[str, int] = {}
    for i, word in enumerate(table.words):
        place.setdefault(word.lower(), i)                              # the first, most frequent spelling
    pairs = [(SPECIAL + i, place[word]) for i, word in enumerate(lexicon.words_of(language)) if word in place]
    if not pairs:
        raise UserError(f"--vectors {language}={path}: expected vectors of words in the {language} text, found none; is it for "
                        "another language?")
    report(f"--vectors {language}={path}: vectors for {len(pairs):,} of the {len(lexicon.words_of(language)):,} words of the "
           "vocabulary; the others begin with random ones")
    rows, places = np.array(pairs).T
    return rows, np.asarray(table.matrix[places])


@on_one_rank
def save_language_model(folder: Path, model: BidirectionalLm, lexicon: LanguageLexicon, notes: Mapping[str, Any]) -> None:
    """Write the folder atomically.  notes: for minixl.json."""
    tensors = {name: to_numpy(model.store[name].value) for name in model.names}
    save_folder(folder, model.config.to_json(), tensors, lexicon, {"family": LANGUAGE_MODEL, "minixl": __version__, **notes},
                _card(model.config))


def is_language_model(folder: Path) -> bool:
    """Whether the folder has the configuration of a language model."""
    return (folder / "config.json").is_file() and read_json(folder / "config.json").get("model_type") == LANGUAGE_MODEL


def read_lexicon(folder: Path) -> tuple[LanguageModelConfig, LanguageLexicon]:
    """Read configuration and vocabularies of a folder, and check them and the parameters' shapes.  Raises UserError."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: expected the folder of a language model with config.json, found "
                        f"{'none in it' if folder.is_dir() else 'no such folder'}; `minixl train mlma` writes one to "
                        "RUN/language-model/model")
    config = LanguageModelConfig.from_json(read_json(folder / "config.json"), str(folder / "config.json"))
    lexicon = LanguageLexicon.load(folder)
    sizes = {language: size + SPECIAL for language, size in lexicon.languages.items()}
    if sizes != config.vocabulary_sizes:
        raise UserError(f"{folder / 'config.json'}: vocabulary_sizes: expected {sizes}, as in lexicon.json, found "
                        f"{config.vocabulary_sizes}; {COPY}")
    check_parameters(folder, language_model_shapes(config))
    return config, lexicon


def load_language_model(folder: Path, *, xp: Any = np) -> tuple[BidirectionalLm, LanguageLexicon]:
    """Read a folder that save_language_model wrote.  Raises UserError if it is not one."""
    config, lexicon = read_lexicon(folder)
    model = BidirectionalLm(config, xp=xp)
    load_into(model, folder)
    return model, lexicon


def load_into(model: BidirectionalLm, folder: Path) -> None:
    """Set the parameters of a language model, perhaps part of a tagger, to those of a folder."""
    load_parameters(folder, {name.removeprefix(model.prefix): model.store[name].value for name in model.names})


def _card(config: LanguageModelConfig) -> str:
    languages = ", ".join(f"{language} ({size:,} words)" for language, size in config.vocabulary_sizes.items())
    return f"""# Language model of minixl {__version__}

Two stacks of {config.num_hidden_layers} transformer blocks, left to right and right to left, with states of
{config.hidden_size} numbers, for {languages}.  Bao et al. 2019 (MLMA).

## Use

```console
$ minixl train mlma --encoder PATH/TO/THIS/FOLDER --source en=train.txt --test es=test.txt
$ echo "A sentence." | minixl states PATH/TO/THIS/FOLDER --language en --out states.safetensors
```
"""
