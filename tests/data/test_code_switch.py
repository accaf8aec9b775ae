"""Words replaced by translations: lookup, case, one translation a word or a place, shares, columns and documents, mistakes."""
import numpy as np
import pytest

from minixl.data.bilingual import read_translations
from minixl.data.code_switch import OCCURRENCE, CodeSwitch
from minixl.data.convert import write_corpus
from minixl.data.corpus import read_corpus
from minixl.errors import UserError

DICTIONARY = {"the": ["el", "la"], "visit": ["visita"], "may": ["puede"], "May": ["Mayo"], "eu": ["UE"]}


def switch(translate="word", share=1.0, seed=0, translations=DICTIONARY):
    return CodeSwitch(translations, np.random.default_rng(seed), translate, share)


def test_lookup_and_case():
    ours = switch()
    assert [ours.word(w) for w in ("visit", "Visit", "VISIT", "may", "May", "MAY", "eu", "Eu", "paris")] == \
        ["visita", "Visita", "VISITA", "puede", "Mayo", "PUEDE", "UE", "UE", "paris"]
    assert (ours.words, ours.replaced, len(ours.vocabulary), len(ours.replaced_vocabulary)) == (9, 8, 4, 3)
    assert ours.report() == "replaced 75.0 % of 4 different words, 88.9 % of 9 words"


def test_one_translation_a_word_or_a_place():
    """With 64 places, one translation for all of them is drawn once in 2^63."""
    assert len({w.lower() for w in map(switch().word, ["the", "The"] * 32)}) == 1
    assert len({w.lower() for w in map(switch(OCCURRENCE).word, ["the", "The"] * 32)}) == 2
    assert len({switch(seed=seed).word("the") for seed in range(64)}) == 2


def test_the_share_of_what_could_be_replaced():
    ours = switch(share=0.3)
    for word in ["visit"] * 5000 + ["paris"] * 5000:
        ours.word(word)
    assert ours.replaced == pytest.approx(1500, abs=150) and ours.words == 10000


def test_columns_keep_their_tags_and_documents_their_layout(tmp_path):
    (tmp_path / "en.conll").write_text("The\tO\nvisit\tO\nto\tO\nParis\tB-LOC\n\nMay\tB-PER\n")
    (tmp_path / "en.tsv").write_text("a\tThe visit, (the visit)!\nb\tparis\n")
    dictionary = tmp_path / "en-es.txt"
    dictionary.write_text("the el\nvisit\tvisita\n\nvisit visita\n")
    translations = read_translations(dictionary)
    assert translations == {"the": ["el"], "visit": ["visita"]}
    for task, name, expected in (("ner", "en.conll", "El\tO\nvisita\tO\nto\tO\nParis\tB-LOC\n\nMay\tB-PER\n\n"),
                                 ("classification", "en.tsv", "a\tEl visita, (el visita)!\nb\tparis\n")):
        write_corpus(switch(translations=translations).corpus(read_corpus(task, "en", tmp_path / name)), tmp_path / "out")
        assert (tmp_path / "out").read_text() == expected
        assert read_corpus(task, "en", tmp_path / "out").gold() == read_corpus(task, "en", tmp_path / name).gold()


def test_mistakes(tmp_path):
    (tmp_path / "en.tsv").write_text("a\tparis\nb\tmadrid\n")
    with pytest.raises(UserError, match=f"^{tmp_path}/en.tsv: the dictionary has none of its 2 different words; expected a "
                                        "dictionary with words in en in the first column$"):
        switch().corpus(read_corpus("classification", "en", tmp_path / "en.tsv"))
    dictionary = tmp_path / "d.txt"
    for content, said in ((b"a b\nc\n", ":2: expected a source word and its translation, .*found 'c'$"),
                          (b"\n\n", ": expected lines with a source word and its translation, found an empty file$"),
                          (b"a b\nc \xe9t\n", ":2: expected utf-8, found byte 0xe9")):
        dictionary.write_bytes(content)
        with pytest.raises(UserError, match=f"^{dictionary}{said}"):
            read_translations(dictionary)
