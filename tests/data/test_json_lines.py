"""Sentences in JSON lines: words and tags by key, for each task; one clear line for every mistake."""
import json

import pytest

from minixl.data.corpus import check_labels, read_corpus, read_unlabelled
from minixl.errors import UserError

WORDS = [("Anna", "vive", "en", "París"), ("Ben",)]


def written(tmp_path, *entries):
    path = tmp_path / "es.jsonl"
    path.write_text("\n\n".join(entry if isinstance(entry, str) else json.dumps(entry) for entry in entries) + "\n")
    return path


@pytest.mark.parametrize("task, key, tags, gold", [
    ("ner", "ner_tags", [["I-PER", "O", "O", "I-LOC"], ["I-PER"]], [["B-PER", "O", "O", "B-LOC"], ["B-PER"]]),
    ("ner", "tags", [["B-PER", "O", "O", "B-LOC"], ["O"]], None), ("pos", "pos_tags", [["A", "B", "C", "A"], ["A"]], None),
    ("pos", "upos", [["A", "B", "C", "A"], ["A"]], None), ("pos", "tags", [["A", "B", "C", "A"], ["A"]], None)])
def test_words_and_tags(tmp_path, task, key, tags, gold):
    other = "pos_tags" if task == "ner" else "ner_tags"
    path = written(tmp_path, *({"id": 1, "tokens": words, other: [0] * len(words), key: row} for words, row in zip(WORDS, tags)))
    corpus = read_corpus(task, "es", path)
    assert [s.words for s in corpus.sentences()] == WORDS and corpus.gold() == (gold or tags)
    assert [s.words for s in read_unlabelled(task, "es", path).sentences()] == WORDS
    assert [d.text for d in read_unlabelled("classification", "es", path).documents()] == ["Anna vive en París", "Ben"]
    with pytest.raises(UserError, match=r"es\.jsonl:3: expected one of the tags .* for the word 'Ben'"):
        check_labels(read_corpus(task, "es", written(tmp_path, {"tokens": ["a"], key: ["O"]}, {"tokens": ["Ben"], key: ["B-X"]})),
                     ["O"])


def test_an_empty_sentence_is_skipped(tmp_path):
    path = written(tmp_path, {"tokens": [], "tags": []}, {"tokens": ["a"], "tags": ["A"]})
    assert len(read_corpus("pos", "es", path).inputs) == 1


@pytest.mark.parametrize("entry, message", [
    ({"tokens": ["a", "b"], "ner_tags": [3, 0]}, "expected the names of tags in 'ner_tags', found numbers such as 3; write the "
     "names, since the file does not say what the numbers mean"),
    ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "expected one tag for each of 2 tokens, found 1; correct it"),
    ({"tokens": ["a"], "label": "O"}, "expected the key 'ner_tags' or 'tags', found 'tokens', 'label'; add it, or name the key "
     "that holds it with --set data.label_column=NAME"),
    ({"words": ["a"]}, "expected the key 'tokens', found 'words'; add it, or name the key that holds it with --set "
     "data.text_column=NAME"),
    ({"tokens": "a b", "tags": ["O", "O"]}, "expected a list of strings that are not empty for 'tokens', found '\"a b\"'; "
     "correct it"),
    ({"tokens": ["a", " "], "tags": ["O", "O"]}, "expected a list of strings that are not empty for 'tokens', found "
     "'[\"a\", \" \"]'; correct it"),
    ({"tokens": ["\ud800"], "tags": ["O"]}, "expected valid Unicode in 'tokens', found half of a surrogate pair; export the file "
     "again with complete characters"),
    ('["a"]', "expected a JSON object with the keys tokens and ner_tags, found '[\"a\"]'; write {\"tokens\": [...], "
     "\"ner_tags\": [...]}"),
], ids=["numbers", "lengths", "tags", "tokens", "string", "space", "surrogate", "list"])
def test_a_line_that_is_wrong(tmp_path, entry, message):
    path = written(tmp_path, {"tokens": ["a"], "ner_tags": ["B-PER"]}, entry)
    with pytest.raises(UserError) as error:
        read_corpus("ner", "es", path)
    assert str(error.value) == f"{path}:3: {message}"


@pytest.mark.parametrize("task", ["ner", "classification"])
@pytest.mark.parametrize("line, problem", [
    ('{"label": ' + "1" * 5000 + ', "text": "a"}', "a number of too many digits"),
    ('{"label": ' + "[" * 100_000 + "]" * 100_000 + "}", "values nested too deeply")], ids=["digits", "depth"])
def test_values_that_python_does_not_read(tmp_path, task, line, problem):
    path = written(tmp_path, line)
    with pytest.raises(UserError) as error:
        read_corpus(task, "es", path)
    assert str(error.value) == \
        f"{path}:1: expected one JSON object per line, found {problem} in '{line[:40]}…'; correct it"
