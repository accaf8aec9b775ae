"""The sample corpus: sizes, what is held out, and that neither a word list nor a name list solves it."""
import hashlib
import re
from collections import Counter, defaultdict
from itertools import product

import pytest
from seqeval.metrics import f1_score

from minixl.data import sample
from minixl.data.sample import LANGUAGES, SPLITS, TOPICS, sample_documents, sample_sentences, write_sample
from minixl.errors import UserError

TYPES = {"PER", "LOC", "ORG", "MISC"}
FROZEN_ORDER = [3, 7, 5, 2, 4, 1, 6, 0]


def names_of(sentence):
    """[(words of the name, type)], from the tags, independently of the code under test."""
    names = []
    for word, tag in zip(sentence.words, sentence.tags, strict=True):
        if tag.startswith("B-"):
            names.append(([word], tag[2:]))
        elif tag.startswith("I-"):
            names[-1][0].append(word)
    return [(tuple(words), kind) for words, kind in names]


@pytest.mark.parametrize("draw", [sample_sentences, sample_documents])
def test_sizes(draw):
    for language in LANGUAGES:
        expected = [400 if language == "en" else 200, 100, 200]
        assert [len(draw(language, split)) for split in SPLITS] == expected
    small = {"train": 7, "unlabelled": 5, "dev": 3, "test": 0}
    assert [len(draw("en", split, sizes=small)) for split in SPLITS] == [7, 3, 0]
    assert [len(draw("nl", split, sizes=small)) for split in SPLITS] == [5, 3, 0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_occurs_twice(language, seed):
    sentences = [s.words for split in SPLITS for s in sample_sentences(language, split, seed=seed)]
    texts = [d.text for split in SPLITS for d in sample_documents(language, split, seed=seed)]
    assert len(set(sentences)) == len(sentences) and len(set(texts)) == len(texts)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    def digest(paths):
        return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()

    first, again, other = (write_sample(tmp_path / name, seed=seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)])
    assert digest(first) == digest(again) != digest(other)


def test_chance_is_the_same_in_every_python_version():
    """If this draw changes, published figures for the sample corpus no longer hold."""
    assert sample._shuffled(sample.Random(0), range(8)) == FROZEN_ORDER


def test_what_is_drawn_depends_only_on_its_own_arguments():
    dev = sample_sentences("de", "dev", seed=3)
    sample_sentences("en", "train", seed=5)
    assert sample_sentences("de", "dev", seed=3) == dev


@pytest.mark.parametrize("language, split", list(product(LANGUAGES, SPLITS)))
def test_tags_are_iob2_and_every_type_occurs(language, split):
    counts = Counter()
    for sentence in sample_sentences(language, split):
        assert len(sentence.words) == len(sentence.tags)
        for before, tag in zip(("O",) + sentence.tags, sentence.tags):
            assert re.fullmatch("O|[BI]-(PER|LOC|ORG|MISC)", tag)
            assert tag[0] != "I" or before in (f"B-{tag[2:]}", tag), sentence
        counts.update(kind for _, kind in names_of(sentence))
    assert set(counts) == TYPES
    assert min(counts.values()) >= 0.08 * sum(counts.values()), counts


@pytest.mark.parametrize("language, split", list(product(LANGUAGES, SPLITS)))
def test_words_are_words(language, split):
    """No empty word, no blank inside one, no mark stuck to a word, no slot left open, a capital at the start."""
    for sentence in sample_sentences(language, split):
        for word in sentence.words:
            assert re.fullmatch(r"\w+(?:[-'’]\w+)*|[^\w\s{}]", word), sentence
        first = next(word for word in sentence.words if word[0].isalnum())
        assert first[0].isupper(), sentence
    for document in sample_documents(language, split):
        assert not re.search(r"[{}|/()\t\n]|  | [.,;:!?]|^[a-zà-ÿ]", document.text), document


@pytest.mark.parametrize("language, split", list(product(LANGUAGES, SPLITS)))
def test_topics_are_balanced(language, split):
    counts = Counter(d.label for d in sample_documents(language, split))
    assert set(counts) == set(TOPICS)
    assert max(counts.values()) <= 1.5 * min(counts.values()), counts


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("language", LANGUAGES)
def test_templates_held_out_of_train_and_dev_are_half_of_test(language, seed, monkeypatch):
    template_of, fill = {}, sample._fill

    def spy(template, *rest):
        pieces = fill(template, *rest)
        template_of["".join(text for text, _ in pieces)] = template
        return pieces

    monkeypatch.setattr(sample, "_fill", spy)
    for task in ("ner", "topic"):
        seen, held = sample._split_templates(task, language, seed)
        assert not set(seen) & set(held)
        assert len(held) == pytest.approx(len(seen + held) / 4, rel=0.1)
        for split in SPLITS:
            drawn = sample._draw_corpus(task, language, seed, None)[split]
            texts = ["".join(text for text, _ in pieces) for pieces, _ in drawn]
            from_held = [template_of[text] in {template for template, _ in held} for text in texts]
            assert sum(from_held) == (100 if split == "test" else 0), (task, split)


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_names_are_not_in_train_or_dev(language):
    """As a name of that type; "Ford" may be held out as a person and seen as a company."""
    used = {kind: set() for kind in TYPES}
    for split in ("train", "dev"):
        for sentence in sample_sentences(language, split):
            for words, kind in names_of(sentence):
                used[kind].add(" ".join(words))
    names = sample._split_names(language, 0)
    cells = [cell for kind in sample.ENTITY_TYPES for cell in names[kind][1]]
    assert len(cells) > 80
    for kind in ("person", "city", "country", "event", "work", "institution"):      # lists with plain names
        held = {sample.CELL.fullmatch(cell)[2] for cell in names[kind][1]}
        assert held and not held & used[sample.ENTITY_TYPES[kind]], kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_half_of_the_names_in_test_are_new(language):
    known = {name for split in ("train", "dev") for s in sample_sentences(language, split) for name in names_of(s)}
    test = [name for s in sample_sentences(language, "test") for name in names_of(s)]
    assert 0.35 < sum(name not in known for name in test) / len(test) < 0.65


def test_the_same_rows_are_held_out_in_every_language():
    """Otherwise English train could contain the names that must be new in Spanish test."""
    rows = {language: sample._split_names(language, 4)["country"][1] for language in LANGUAGES}
    table = [line.split(" | ") for line in sample._read_text("names")["country"].strip().splitlines()]
    held = [row for row in table if row[0] in rows["en"]]
    assert rows["de"] == [row[2 if len(row) > 1 else 0] for row in held]
    assert rows["es"] == [row[1 if len(row) > 1 else 0] for row in held]


@pytest.mark.parametrize("language", LANGUAGES)
def test_many_names_have_two_types(language):
    kinds = defaultdict(set)
    for split in SPLITS:
        for sentence in sample_sentences(language, split):
            for words, kind in names_of(sentence):
                kinds[words].add(kind)
    assert sum(len(found) > 1 for found in kinds.values()) >= 25


def gazetteer_tags(words, gazetteer):
    """The longest name of the list at each place, with the type it most often had."""
    tags, start = [], 0
    while start < len(words):
        end = next((e for e in range(len(words), start, -1) if words[start:e] in gazetteer), None)
        kind = gazetteer[words[start:end]] if end else None
        found = (end or start + 1) - start
        tags += ["O"] if kind is None else [f"B-{kind}"] + [f"I-{kind}"] * (found - 1)
        start += found
    return tags


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_list_of_the_names_in_train_does_not_solve_ner(language):
    counts = defaultdict(Counter)
    for sentence in sample_sentences(language, "train"):
        for words, kind in names_of(sentence):
            counts[words][kind] += 1
    gazetteer = {words: kinds.most_common(1)[0][0] for words, kinds in counts.items()}
    test = sample_sentences(language, "test")
    f1 = f1_score([list(s.tags) for s in test], [gazetteer_tags(s.words, gazetteer) for s in test])
    assert 0.3 < f1 < 0.8                      # far above chance too: the list itself works


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_single_word_gives_the_topic_away(language):
    """Each text gets the topic that its most indicative word has in train (precision, with one count added per topic)."""
    counts = defaultdict(Counter)
    for document in sample_documents(language, "train"):
        for word in set(re.findall(r"\w+", document.text.lower())):
            counts[word][document.label] += 1

    def predict(text):
        telling = [((n + 1) / (sum(counts[word].values()) + len(TOPICS)), topic)
                   for word in re.findall(r"\w+", text.lower()) if word in counts
                   for topic, n in counts[word].most_common(1)]
        return max(telling)[1] if telling else TOPICS[0]

    test = sample_documents(language, "test")
    accuracy = sum(predict(d.text) == d.label for d in test) / len(test)
    assert 0.3 < accuracy < 0.85


def test_line_n_of_every_language_has_the_same_slots():
    """Templates are translations of each other, line by line."""
    texts = [sample._read_text(language) for language in LANGUAGES]
    groups = [[t["ner"] for t in texts]] + [[t["topic"][topic] for t in texts] for topic in TOPICS]
    for group in groups:
        for lines in zip(*(text.strip().splitlines() for text in group), strict=True):
            slots = [sorted(match[0] for match in sample.SLOT.findall(line)) for line in lines]
            assert slots[1:] == slots[:-1], lines


@pytest.mark.parametrize("template, cells, language, expected", [
    ("A {adj} actor.", ["Italian"], "en", "An Italian actor."),
    ("A {adj} actor.", ["Danish"], "en", "A Danish actor."),
    ("{institution} and {company}.", ["(the) WHO", "IBM"], "en", "The WHO and IBM."),
    ("Escribió a {institution}.", ["(el) BCE"], "es", "Escribió al BCE."),
    ("La carta de {institution}.", ["(el) BCE"], "es", "La carta del BCE."),
    ("La carta de {institution}.", ["(la) OMS"], "es", "La carta de la OMS."),
    ("Vuelo a {city}.", ["El Cairo"], "es", "Vuelo a El Cairo."),
    ("{country} y {country}.", ["España", "Italia"], "es", "España e Italia."),
    ("Una periodista {adj_f}.", ["griego/griega"], "es", "Una periodista griega."),
    ("Un actor {adj}.", ["griego/griega"], "es", "Un actor griego."),
    ("Die {adj}en Fans.", ["polnisch"], "de", "Die polnischen Fans."),
    ("{city} or {city}?", ["Oslo", "Oslo", "Lima"], "en", "Oslo or Lima?"),
])
def test_words_around_a_name_agree_with_it(template, cells, language, expected):
    cells = iter(cells)
    pieces = sample._fill(template, lambda kind: next(cells), language)
    assert "".join(text for text, _ in pieces) == expected


def test_the_article_is_no_part_of_the_name():
    pieces = sample._fill("{event} begins.", lambda kind: "(the) Tour de France", "en")
    words, tags = sample._words_and_tags(pieces)
    assert words == ("The", "Tour", "de", "France", "begins", ".")
    assert tags == ("O", "B-MISC", "I-MISC", "I-MISC", "O", "O")


def test_files_hold_what_the_functions_give(tmp_path):
    paths = write_sample(tmp_path, seed=2, sizes={"train": 12, "unlabelled": 8, "dev": 4, "test": 6})
    expected = {f"ner/{language}/{split}.txt" for language in LANGUAGES for split in SPLITS}
    expected |= {f"topic/{language}/{split}.tsv" for language in LANGUAGES for split in SPLITS}
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == expected and len(paths) == 24

    sizes = {"train": 12, "unlabelled": 8, "dev": 4, "test": 6}
    raw = (tmp_path / "ner/es/train.txt").read_bytes()
    assert b"\r" not in raw and raw.endswith(b"\n\n")
    lines = raw.decode("utf-8").split("\n")
    sentences = sample_sentences("es", "train", seed=2, sizes=sizes)
    assert len(sentences) == 8
    for sentence in sentences:
        for i, (word, tag) in enumerate(zip(sentence.words, sentence.tags)):
            assert lines[sentence.line - 1 + i] == f"{word}\t{tag}"
        assert lines[sentence.line - 1 + len(sentence.words)] == ""

    lines = (tmp_path / "topic/nl/test.tsv").read_text(encoding="utf-8").splitlines()
    documents = sample_documents("nl", "test", seed=2, sizes=sizes)
    assert lines == [f"{d.label}\t{d.text}" for d in documents]
    assert [d.line for d in documents] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("arguments, message", [
    ({"language": "fr"}, "language: expected one of en, es, de, nl, got 'fr'"),
    ({"split": "valid"}, "split: expected one of train, dev, test, got 'valid'"),
    ({"seed": -1}, "seed: expected a whole number from 0, got -1"),
    ({"sizes": {"trian": 3}}, "sizes: expected one of train, unlabelled, dev, test, got 'trian'"),
    ({"sizes": {"dev": -3}}, "sizes: expected a whole number from 0 for 'dev', got -3"),
])
@pytest.mark.parametrize("draw", [sample_sentences, sample_documents])
def test_wrong_arguments(draw, arguments, message):
    options = {"language": "en", "split": "dev"} | arguments
    with pytest.raises(UserError, match=re.escape(message)):
        draw(options.pop("language"), options.pop("split"), **options)


def test_more_than_the_templates_give(monkeypatch):
    monkeypatch.setattr(sample, "_split_templates", lambda *_: ([("On {day}.", None)], [("On {day}.", None)]))
    with pytest.raises(UserError, match=r"sizes: the templates allow only about 7 different sentences in 'en'; ask for fewer"):
        sample_sentences("en", "train", sizes={"train": 8})


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken.*cannot write the sample corpus"):
        write_sample(tmp_path / "taken", sizes={"train": 1, "unlabelled": 1, "dev": 1, "test": 1})
