"""A small labelled corpus in English, Spanish, German and Dutch, enough to try every recipe and to test with.

It has two tasks: `ner` tags PER, LOC, ORG and MISC (nationalities, events, works) in IOB2; `topic` tells sport, politics,
science, travel and business apart.  Sentences are drawn from the templates and names in `sample_text/`; the names are
real, the events invented.

It is not trivial: many names have two types ("Ford", "Washington", "Barcelona", "Casablanca"); words of one topic occur in
others; and a quarter of all templates and names is held out, the same quarter in every language.  Train and dev never use
it; half of the test sentences come from held-out templates, and each name in test is a held-out one with probability 1/2.
No sentence occurs twice in a language.
"""
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from minixl.data.convert import column_lines
from minixl.data.examples import Document, Sentence
from minixl.errors import UserError

LANGUAGES = ("en", "es", "de", "nl")
SPLITS = ("train", "dev", "test")
TOPICS = ("sport", "politics", "science", "travel", "business")
SIZES = {"train": 400, "unlabelled": 200, "dev": 100, "test": 200}   # train: English; unlabelled: the others' train

ENTITY_TYPES = {"person": "PER", "surname": "PER", "city": "LOC", "country": "LOC", "place": "LOC", "company": "ORG", "club": "ORG",
                "institution": "ORG", "adj": "MISC", "event": "MISC", "work": "MISC"}
TEXT = Path(__file__).parent / "sample_text"
HELD_OUT = 0.25      # of the templates, and of the names of each kind
MAX_TRIES = 1000     # at drawing a new sentence

SLOT = re.compile(r"\{([a-z]+)(_f)?\}(\w*)")              # {kind}, feminine {adj_f}, German {adj}en
CELL = re.compile(r"(?:\((\w+)\) )?(.+)")                 # "(the) WHO": article, name
WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")            # a word with inner hyphens, or one punctuation mark

Pieces = list[tuple[str, str | None]]                     # a sentence in parts, each with its type or None
Drawn = tuple[Pieces, str | None]                         # and its topic, None in NER
Template = tuple[str, str | None]                         # the text with its slots, and its topic
T = TypeVar("T")


def sample_sentences(language: str, split: str, *, seed: int = 0,
                     sizes: Mapping[str, int] | None = None) -> list[Sentence]:
    """Return the NER sentences of a split, with their lines in the file that `write_sample` writes."""
    _check_choice("split", split, SPLITS)
    sentences, line = [], 1
    for pieces, _ in _draw_corpus("ner", language, seed, sizes)[split]:
        words, tags = _words_and_tags(pieces)
        sentences.append(Sentence(words, tags, line))
        line += len(words) + 1                            # a blank line follows
    return sentences


def sample_documents(language: str, split: str, *, seed: int = 0,
                     sizes: Mapping[str, int] | None = None) -> list[Document]:
    """Return the topic texts of a split, with their lines in the file that `write_sample` writes."""
    _check_choice("split", split, SPLITS)
    drawn = _draw_corpus("topic", language, seed, sizes)[split]
    return [Document("".join(text for text, _ in pieces), topic, line) for line, (pieces, topic) in enumerate(drawn, 1)]


def write_sample(folder: str | Path, *, seed: int = 0, sizes: Mapping[str, int] | None = None) -> list[Path]:
    """Write ner/{language}/{split}.txt (word TAB tag) and topic/{language}/{split}.tsv (label TAB text), UTF-8.

    sizes: numbers of sentences that replace those of SIZES.  Overwrites existing files and returns the paths written.
    """
    files = {}
    for language in LANGUAGES:
        for split in SPLITS:
            sentences = sample_sentences(language, split, seed=seed, sizes=sizes)
            files[f"ner/{language}/{split}.txt"] = "".join(line for sentence in sentences for line in column_lines(sentence))
            documents = sample_documents(language, split, seed=seed, sizes=sizes)
            files[f"topic/{language}/{split}.tsv"] = "".join(f"{d.label}\t{d.text}\n" for d in documents)
    paths = []
    for name, text in files.items():
        path = Path(folder) / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(f"{path}: cannot write the sample corpus here ({error.strerror}); "
                            f"choose another folder") from error
        paths.append(path)
    return paths


def _words_and_tags(pieces: Pieces) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split pieces into words; names are split only at spaces and tagged B-, I-, I-, ..."""
    words: list[str] = []
    tags: list[str] = []
    for text, kind in pieces:
        new_words = WORD.findall(text) if kind is None else text.split()
        words += new_words
        tags += ["O" if kind is None else f"{'I' if i else 'B'}-{kind}" for i in range(len(new_words))]
    return tuple(words), tuple(tags)


# --- drawing ----------------------------------------------------------------------------------------------------------

def _draw_corpus(task: str, language: str, seed: int, sizes: Mapping[str, int] | None) -> dict[str, list[Drawn]]:
    """Draw every split of a task in one language, together because no sentence may be in two."""
    _check_choice("language", language, LANGUAGES)
    if not isinstance(seed, int) or seed < 0:
        raise UserError(f"seed: expected a whole number from 0, got {seed!r}")
    size_of = _complete_sizes(sizes)
    if language != "en":
        size_of["train"] = size_of["unlabelled"]
    rng = Random(8 * seed + 2 * LANGUAGES.index(language) + (task == "topic"))
    seen, held_out = _split_templates(task, language, seed)
    names = _split_names(language, seed)
    used: set[str] = set()                                # sentences drawn so far

    def draw(split: str) -> list[Drawn]:
        held_share = 0.5 if split == "test" else 0.0
        sources = [_endless(rng, seen)] + ([_endless(rng, held_out)] if split == "test" else [])

        def draw_name(kind: str) -> str:
            return _pick(rng, names[kind][rng.random() < held_share])

        drawn = [_draw_new(sources[i % len(sources)], draw_name, language, used) for i in range(size_of[split])]
        return _shuffled(rng, drawn)                      # otherwise test would alternate seen, held out

    return {split: draw(split) for split in SPLITS}


def _draw_new(templates: Iterator[Template], draw_name: Callable[[str], str], language: str,
              used: set[str]) -> Drawn:
    """Draw a sentence that is not in `used`, and add it there."""
    for _ in range(MAX_TRIES):
        template, topic = next(templates)
        pieces = _fill(template, draw_name, language)
        sentence = "".join(text for text, _ in pieces)
        if sentence not in used:
            used.add(sentence)
            return pieces, topic
    raise UserError(f"sizes: the templates allow only about {len(used)} different sentences in '{language}'; ask for fewer")


def _fill(template: str, draw_name: Callable[[str], str], language: str) -> Pieces:
    """Fill each slot with a drawn name; two slots of one kind never get the same name."""
    pieces: Pieces = []
    used = set()
    parts = SLOT.split(template)                          # text, kind, feminine, ending, text, kind, ..., text
    for before, kind, feminine, ending in zip(parts[0::4], parts[1::4], parts[2::4], parts[3::4]):
        cell = draw_name(kind)
        while (kind, cell) in used:                       # terminates: every list has more names than a sentence has slots
            cell = draw_name(kind)
        used.add((kind, cell))
        article, forms = CELL.findall(cell)[0]
        name = forms.split("/")[-1 if feminine else 0] + ending
        pieces += [(_join(before, article, name, language), None), (name, ENTITY_TYPES.get(kind))]
    pieces.append((parts[-1], None))
    first, kind_of_first = pieces[0]
    pieces[0] = first[:1].upper() + first[1:], kind_of_first             # "the WHO" opens a sentence as "The WHO"
    return [(text, kind) for text, kind in pieces if text]


def _join(before: str, article: str, name: str, language: str) -> str:
    """Join the text before a name with the name's article, adapting both to the name: an Italian, e Italia, del Banco."""
    if language == "en" and name[0] in "AEIO":
        before = re.sub(r"\b([Aa]) $", r"\1n ", before)
    if language == "es" and name.startswith(("I", "Hi")):
        before = re.sub(r"\by $", "e ", before)
    if article:
        before += article + " "
    if language == "es":
        before = re.sub(r"\b(d)e (el) $|\b(a) e(l) $", r"\1\2\3\4 ", before)
    return before


# --- reading the templates and names ---------------------------------------------------------------------------------

def _split_templates(task: str, language: str, seed: int) -> tuple[list[Template], list[Template]]:
    """Split the templates into (seen in train, held out for test), with the same share of every topic."""
    content = _read_text(language)
    groups = {None: content["ner"]} if task == "ner" else {topic: content["topic"][topic] for topic in TOPICS}
    seen: list[Template] = []
    held_out: list[Template] = []
    for number, (topic, text) in enumerate(groups.items()):
        lines = text.strip().splitlines()
        out = _held_rows(len(lines), seed, number)
        for row, line in enumerate(lines):
            (held_out if row in out else seen).append((line, topic))
    return seen, held_out


def _split_names(language: str, seed: int) -> dict[str, tuple[list[str], list[str]]]:
    """kind -> (names seen in train, names held out for test); days, months and numbers are not names and are in both."""
    column = LANGUAGES.index(language)
    names = {"number": ([str(n) for n in range(2, 99)],) * 2}
    for number, (kind, text) in enumerate(_read_text("names").items()):
        rows = [line.split(" | ") for line in text.strip().splitlines()]
        cells = [row[column if len(row) > 1 else 0] for row in rows]
        out = _held_rows(len(cells), seed, 100 + number) if kind in ENTITY_TYPES else set()
        seen = [cell for row, cell in enumerate(cells) if row not in out]
        names[kind] = seen, [cells[row] for row in sorted(out)] or seen
    return names


def _held_rows(count: int, seed: int, group: int) -> set[int]:
    """Choose the rows of a list to hold out, the same in every language: a name unseen in one is unseen in all."""
    return set(_shuffled(Random(1000 * seed + group), range(count))[:round(HELD_OUT * count)])


@cache
def _read_text(name: str) -> dict[str, Any]:
    return tomllib.loads((TEXT / f"{name}.toml").read_text(encoding="utf-8"))


# --- chance and checks -----------------------------------------------------------------------------------------------
# Only Random.random() is guaranteed to give the same numbers in every Python version, so nothing else is used.

def _pick(rng: Random, items: Sequence[T]) -> T:
    return items[int(rng.random() * len(items))]


def _shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    order = sorted((rng.random(), i) for i in range(len(items)))
    return [items[i] for _, i in order]


def _endless(rng: Random, items: Sequence[T]) -> Iterator[T]:
    """Yield all items in a random order, then in another, and so on, so that each is drawn equally often."""
    while True:
        yield from _shuffled(rng, items)


def _check_choice(parameter: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{parameter}: expected one of {', '.join(choices)}, got {value!r}")


def _complete_sizes(sizes: Mapping[str, int] | None) -> dict[str, int]:
    for key, size in (sizes or {}).items():
        _check_choice("sizes", key, tuple(SIZES))
        if not isinstance(size, int) or size < 0:
            raise UserError(f"sizes: expected a whole number from 0 for '{key}', got {size!r}")
    return SIZES | dict(sizes or {})
