"""Tag schemes: spans against seqeval, lossless conversion, legality against brute force, detection and its errors."""
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from minixl.data.schemes import convert, detect_scheme, label_set, legal_transitions, spans
from minixl.errors import UserError

SCHEMES = ("IOB1", "IOB2", "IOBES", "BIOUL")
TIMELESS = settings(deadline=None)                # how long an example takes depends on what else the machine does
KINDS = ("PER", "ORG", "ORG-GPE", "")

ONE_SENTENCE = {                                  # written by hand: adjacent spans of one type, of two types, a single word
    "IOB1": "I-PER I-PER B-PER I-LOC O I-LOC",
    "IOB2": "B-PER I-PER B-PER B-LOC O B-LOC",
    "IOBES": "B-PER E-PER S-PER S-LOC O S-LOC",
    "BIOUL": "B-PER L-PER U-PER U-LOC O U-LOC",
}
ITS_SPANS = [("PER", 0, 2), ("PER", 2, 3), ("LOC", 3, 4), ("LOC", 5, 6)]


@st.composite
def span_lists(draw, kinds=KINDS[:3]):
    """Disjoint spans in order, and the length of their sentence."""
    found, position = [], 0
    for gap, length, kind in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(kinds)),
                                           max_size=6)):
        found.append((kind, position + gap, position + gap + length))
        position += gap + length
    return found, position + draw(st.integers(0, 2))


def in_iob2(found, length):
    """Spans written as IOB2, independently of the code under test."""
    tags = ["O"] * length
    for kind, start, stop in found:
        for i in range(start, stop):
            tags[i] = ("B" if i == start else "I") + (f"-{kind}" if kind else "")
    return tags


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_of_every_scheme(scheme):
    assert spans(ONE_SENTENCE[scheme].split()) == ITS_SPANS


@pytest.mark.parametrize("source, target", list(itertools.product(SCHEMES, SCHEMES)))
def test_conversion_between_every_two_schemes(source, target):
    assert convert(ONE_SENTENCE[source].split(), source, target) == ONE_SENTENCE[target].split()


@TIMELESS
@given(span_lists(), st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_conversion_keeps_the_spans_and_comes_back(spanned, source, target):
    found, length = spanned
    tags = convert(in_iob2(found, length), "IOB2", source)
    there = convert(tags, source, target)
    assert spans(there) == found and len(there) == length
    assert convert(there, target, source) == tags
    assert convert(there, target, "IOB2") == in_iob2(found, length)


@TIMELESS
@given(span_lists(kinds=("",)), st.sampled_from(SCHEMES))
def test_tags_without_types(spanned, scheme):
    found, length = spanned
    tags = convert(in_iob2(found, length), "IOB2", scheme)
    assert all(len(tag) == 1 for tag in tags) and spans(tags) == found


def test_every_short_sequence_is_read_as_seqeval_reads_it():
    for length in (1, 2, 3, 4):
        for tags in itertools.product(("O", "B-A", "I-A", "I-B", "E-A", "S-B"), repeat=length):
            assert spans(tags) == [(kind, a, b + 1) for kind, a, b in get_entities(list(tags))], tags


def test_every_short_sequence_is_read_as_strict_seqeval_reads_it():
    for length in (1, 2, 3, 4):
        for tags in itertools.product(("O", "B-A", "I-A", "B-B", "I-B"), repeat=length):
            strict = [entity.to_tuple()[1:] for entity in Entities([list(tags)], scheme=IOB2).entities[0]]
            assert spans(tags, strict=True) == strict, tags


def test_types_are_compared_as_a_whole():
    assert spans(["B-ORG", "I-ORG-GPE"]) == [("ORG", 0, 1), ("ORG-GPE", 1, 2)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_stray_tags_become_proper_ones(scheme):
    """Converting a scheme to itself repairs it: the result is a legal path with the same lenient spans."""
    letters = "BIOUL" if scheme == "BIOUL" else "BIESO" if scheme == "IOBES" else "BIO"
    labels = ["O"] + [f"{letter}-{kind}" for letter in letters if letter != "O" for kind in "AB"]
    legal = legal_transitions(labels, scheme)
    for tags in itertools.product(labels, repeat=3):
        proper = convert(tags, scheme, scheme)
        path = [labels.index(tag) for tag in proper]
        assert spans(proper) == spans(tags)
        assert legal.start[path[0]] and legal.end[path[-1]]
        assert all(legal.transitions[a, b] for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_legal_paths_are_exactly_the_written_ones(scheme):
    """Brute force: of all paths of length up to 4, the legal ones are exactly those that write some list of spans."""
    letters = {"IOB1": "BI", "IOB2": "BI", "IOBES": "BIES", "BIOUL": "BIUL"}[scheme]
    labels = ["O"] + [f"{letter}-{kind}" for letter in letters for kind in ("ORG", "ORG-GPE")]
    legal = legal_transitions(labels, scheme)
    assert legal.start.shape == legal.end.shape == (len(labels),)
    assert legal.transitions.shape == (len(labels), len(labels))
    for length in (1, 2, 3, 4):
        iob2 = itertools.product(("O", "B-ORG", "I-ORG", "B-ORG-GPE", "I-ORG-GPE"), repeat=length)
        written = {tuple(convert(tags, "IOB2", scheme)) for tags in iob2}
        allowed = {tags for tags in itertools.product(labels, repeat=length)
                   if legal.start[labels.index(tags[0])] and legal.end[labels.index(tags[-1])]
                   and all(legal.transitions[labels.index(a), labels.index(b)] for a, b in itertools.pairwise(tags))}
        assert allowed == written


def test_plain_tags_may_follow_in_any_order():
    legal = legal_transitions(["NOUN", "VERB", "X"], "none")
    assert legal.start.all() and legal.transitions.all() and legal.end.all() and legal.transitions.shape == (3, 3)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_detects_each_scheme(scheme):
    assert detect_scheme([["O"], ONE_SENTENCE[scheme].split()]) == scheme


@TIMELESS
@given(st.lists(span_lists(), min_size=1), st.sampled_from(SCHEMES))
def test_detection_never_loses_a_span(corpus, scheme):
    """A small file may be valid in two schemes; either gives the same spans."""
    sequences = [convert(in_iob2(*spanned), "IOB2", scheme) for spanned in corpus]
    found = detect_scheme(sequences)
    assert [spans(convert(tags, found, "IOB2")) for tags in sequences] == [found for found, _ in corpus]


@pytest.mark.parametrize("sequences, scheme", [
    ([["NOUN", "VERB"], ["PUNCT"]], "none"),
    ([["NOUN", "O", "S", "E"]], "none"),                        # a tagset of single letters (Twitter parts of speech)
    ([["B", "I", "O"]], "IOB2"),
    ([["I", "O"]], "IOB1"),
    ([["O", "O"]], "IOB2"),
    ([], "IOB2"),
    ([["I-PER"], *[["B-PER", "I-PER"]] * 5], "IOB2"),           # one stray I- in a file of IOB2
    ([["B-PER"], *[["O", "I-PER", "I-PER"]] * 5], "IOB1"),      # one stray B- in a file of IOB1
])
def test_detects(sequences, scheme):
    assert detect_scheme(sequences) == scheme


@pytest.mark.parametrize("sequences, place, found", [
    ([["S-PER"], ["B-LOC", "I-LOC", "O"]], "sequence 2, tag 2", "I-LOC"),    # a span without its E-
    ([["S-PER"], ["O", "B-LOC"]], "sequence 2, tag 2", "B-LOC"),             # cut off by the end of the sentence
    ([["S-PER"], ["O", "I-LOC", "E-LOC"]], "sequence 2, tag 2", "I-LOC"),    # nothing opened it
    ([["S-PER"], ["B-LOC", "E-PER"]], "sequence 2, tag 1", "B-LOC"),
    ([["S-PER"], ["O", "U-LOC"]], "sequence 2, tag 2", "U-LOC"),
    ([["U-PER"], ["B-LOC", "I-LOC"]], "sequence 2, tag 2", "I-LOC"),
])
def test_mixed_schemes_are_refused(sequences, place, found):
    scheme, sign = ("BIOUL", "U-PER") if sequences[0] == ["U-PER"] else ("IOBES", "S-PER")
    with pytest.raises(UserError) as error:
        detect_scheme(sequences)
    assert str(error.value) == (
        f"{place}: expected {scheme} tags like {sign} at sequence 1, tag 1, found '{found}' of another scheme; "
        f"use one scheme in the file, or read it as conlleval does with --set data.scheme={scheme}")


def test_a_plain_tag_among_span_tags_is_refused():
    with pytest.raises(UserError) as error:
        detect_scheme([["B-PER", "I-PER", "O"], ["O", "0"]], lambda i, j: f"corpus.txt:{4 * i + j + 1}")
    assert str(error.value) == ("corpus.txt:6: expected a span tag such as B-PER (corpus.txt:1), found '0'; "
                                "correct it, or use the task pos for plain tags")


def test_a_span_tag_among_plain_tags_is_refused():
    with pytest.raises(UserError, match=r"sequence 1, tag 3: expected a plain tag such as NOUN .*, found 'B-PER'"):
        detect_scheme([["NOUN", "VERB", "B-PER"]])


def test_label_set_completes_every_type():
    assert label_set([["O", "B-PER"], ["B-LOC", "I-LOC"]], "IOB2") == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert label_set([["VERB", "NOUN"], ["VERB"]], "none") == ["NOUN", "VERB"]


@pytest.mark.parametrize("call, message", [
    (lambda: convert(["E-PER"], "IOB2", "IOB1"), r"expected IOB2 tags \(B, I, O\), found 'E-PER'"),
    (lambda: convert(["NOUN"], "none", "IOB2"), "expected two span schemes, found none and IOB2"),
    (lambda: convert(["O"], "IOB2", "BMES"), "expected IOB1, IOB2, IOBES, BIOUL or none, found 'BMES'"),
    (lambda: spans(["O", "B-"]), "found 'B-'"),
    (lambda: spans(["S-PER"], strict=True), "expected IOB2 tags for strict spans, found 'S-PER'"),
    (lambda: legal_transitions(["O", "E-PER"], "IOB2"), "found 'E-PER'"),
    (lambda: label_set([["I-PER"]], "IOB1"), "expected IOB2, IOBES, BIOUL or none, found IOB1"),
])
def test_errors_say_what_was_found(call, message):
    with pytest.raises(UserError, match=message):
        call()
