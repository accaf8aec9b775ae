"""The model of a run: what its settings and files make of it, and the mistakes that are found before anything is written."""
import numpy as np
import pytest

from minixl.building import FAMILIES, Request, build
from minixl.data.corpus import collect_labels, read_corpus
from minixl.data.inputs import Inputs
from minixl.errors import UserError
from minixl.methods import SCHEMA
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from tests.tiny import write_encoder, write_ner, write_topics, write_vectors

SMALL = {"model.type": "bilstm-crf", "model.word_size": 6, "model.word_hidden": 5, "model.dense_size": 4, "model.char_size": 3,
         "model.char_hidden": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("building")
    write_encoder(folder / "encoder")
    write_ner(folder / "en.txt", "en")
    write_ner(folder / "es.txt", "es")
    write_topics(folder / "en.tsv", "en")
    write_vectors(folder / "three.vec", {"anna": [1, 2, 3], "visit": [4, 5, 6]})             # of which the data has three and one
    write_vectors(folder / "two.vec", {"madrid": [1, 2]})
    return folder


def built(folder, *, encoder=None, vectors=(), unlabelled=(), **changes):
    settings = SCHEMA.settings({**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}})
    suffix = "tsv" if settings["task"] == "classification" else "txt"
    source = read_corpus(settings["task"], "en", folder / f"en.{suffix}")
    others = [read_corpus("ner", "es", folder / "es.txt")] if suffix == "txt" else []
    scheme = "IOBES" if suffix == "txt" else "none"
    inputs = Inputs(encoder, [("en", folder / f"en.{suffix}")], vectors=[(language, folder / name) for language, name in vectors])
    FAMILIES[settings["model.type"]].check(settings, inputs)
    return build(Request(settings, inputs, [source], others, collect_labels(settings["task"], [source], scheme), scheme, 1,
                         unlabelled=unlabelled))


def test_sizes_and_switches_reach_the_model(folder):
    config = BilstmCrfConfig.from_json(built(folder).raw_config)
    assert config == BilstmCrfConfig(vocabulary_size=11, alphabet_size=16, word_size=6, char_size=3, char_hidden=2, word_hidden=5,
                                     dense_size=4)
    switched = {"chars": False, "tied": True, "start_end": True, "variational": True, "dropout": 0.25}
    config = built(folder, **{f"model__{name}": value for name, value in switched.items()}).model.config
    assert {name: getattr(config, name) for name in switched} == switched
    assert built(folder).model.legal is None
    assert not built(folder, model__constrained_training=True).model.legal.transitions.all()


def test_vectors_decide_the_size_and_are_frozen(folder):
    made = built(folder, vectors=[("en", "three.vec")])
    assert made.model.config.word_size == 3 and not made.model.store["word_embeddings.weight"].trainable
    assert len(made.tokenizer.singletons) == 0 and any(m.startswith("frozen: 1 of ") for m in made.messages)
    made = built(folder, vectors=[("en", "three.vec")], model__train_vectors=True)
    assert made.model.store["word_embeddings.weight"].trainable and made.tokenizer.singletons.tolist() == [2]
    made = built(folder, vectors=[("en", "three.vec")], model__vectors_top=1)
    assert made.tokenizer.vocabulary == ("anna",)


def test_the_seed_decides_the_random_values(folder):
    one, two = built(folder), built(folder)
    for parameter in one.model.store:
        np.testing.assert_array_equal(parameter.value, two.model.store[parameter.name].value)


def test_frozen_by_name(folder):
    store = built(folder, model__freeze=["char_*", "word_embeddings.weight"]).model.store
    assert set(store.names(trainable=False)) == {name for name in store.names() if name.startswith(("char_", "word_embeddings"))}


def test_the_characters_of_unlabelled_text_are_read_but_not_its_words(folder):
    (folder / "other.txt").write_text("año\tO\nQuito\tB-LOC\n", encoding="utf-8")
    spanish = read_corpus("ner", "es", folder / "other.txt")
    before, after = built(folder).tokenizer, built(folder, unlabelled=[spanish]).tokenizer
    letters = {char for sentence in spanish.sentences() for word in sentence.words for char in word}
    assert letters - set(before.alphabet) and set(after.alphabet) == set(before.alphabet) | letters
    assert after.vocabulary == before.vocabulary and after.singletons.tolist() == before.singletons.tolist()


def test_an_augmented_tagger_knows_its_source_languages(folder):
    made = built(folder, model__type="augmented-tagger", model__flow=True)
    assert made.model.flow and made.model.for_language("en") is made.model.source and made.model.for_language("es") is made.model
    plain = built(folder).model.store.count()
    target = sum(p.value.size for p in made.model.store if p.name.startswith("target_"))
    assert made.model.store.count() == plain + target
    assert made.messages[0].startswith(f"augmented-tagger: {plain + target:,} weights, of which ")
    assert made.messages[0].endswith(f"; the target encoder has {target:,} of the weights")


MISTAKES = {
    "an encoder": ({"encoder": "encoder"}, "--encoder .*encoder: a bilstm-crf uses word vectors .--vectors., not an enc"),
    "classification": ({"task": "classification"}, "^model.type: a bilstm-crf tags words, which does not fit task class"),
    "two encoders": ({"task": "classification", "model__type": "augmented-tagger"}, "^model.type: an augmented-tagger tags words"),
    "pooling": ({"model__pooling": "mean"}, "^model.pooling: mean does not fit task ner; expected token$"),
    "layers": ({"model__freeze": ["bottom:2"]}, "^model.freeze: bottom:2: a bilstm-crf model has no layers to count"),
    "all frozen": ({"model__freeze": ["*"]}, r"^model.freeze: \* leaves no parameter to train"),
    "no such file": ({"vectors": [("en", "none.vec")]}, "none.vec: expected a file, found nothing"),
    "no vectors": ({"vectors": [("en", "en.txt")]}, "en.txt:1: expected a header 'words dimension' or a word and its numbers"),
    "other size": ({"vectors": [("en", "three.vec"), ("es", "two.vec")]},
                   "^--vectors es=.*two.vec: expected vectors of 3 numbers as in .*three.vec, found 2; the files of a run must"),
    "no such name": ({"model__freeze": ["words.*"]}, r"the pattern 'words.\*' matches no parameter"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(folder, name):
    changes, message = MISTAKES[name]
    if "encoder" in changes:
        changes = {"encoder": folder / changes["encoder"]}
    with pytest.raises(UserError, match=message) as error:
        built(folder, **changes)
    assert "\n" not in str(error.value)


def test_a_transformer_has_no_word_vectors(folder):
    with pytest.raises(UserError, match="^--vectors: a transformer has its own embeddings; leave this option out, or use "):
        built(folder, model__type="transformer", encoder=folder / "encoder", vectors=[("en", "three.vec")])
