"""Scores: entity F1 against a count of spans, what is and is not an entity, truncated sentences, accuracy; mean and deviation."""
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minixl.data.schemes import spans
from minixl.evaluation.scores import confused, confusion, figures, main_figure, mean_sd, score, score_entities, score_labels

TAGS = st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
PAIRS = st.lists(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8), min_size=1, max_size=4)


def counted(gold, predicted, kind=None, strict=False) -> dict[str, float]:
    """Precision, recall and F1 from sets of spans."""
    sides = [{(number, *span) for number, tags in enumerate(side) for span in spans(tags, strict) if kind in (None, span[0])}
             for side in (gold, predicted)]
    right, support, found = len(sides[0] & sides[1]), len(sides[0]), len(sides[1])
    precision, recall = right / found if found else 0.0, right / support if support else 0.0
    f1 = 2 * right / (found + support) if right else 0.0
    return {"f1": f1, "precision": precision, "recall": recall, "support": support}


@pytest.mark.parametrize("strict", [False, True])
@settings(deadline=None, derandomize=True)          # the first call imports scikit-learn
@given(pairs=PAIRS)
def test_against_sets_of_spans(strict, pairs):
    gold = [[a for a, _ in sentence] for sentence in pairs]
    predicted = [[b for _, b in sentence] for sentence in pairs]
    result = score_entities(gold, predicted, strict=strict)
    by_type, macro = result.pop("by_type"), result.pop("macro_f1")
    assert macro == pytest.approx(sum(row["f1"] for row in by_type.values()) / max(len(by_type), 1))
    assert result == pytest.approx(counted(gold, predicted, strict=strict))
    for kind, row in by_type.items():
        assert row == pytest.approx(counted(gold, predicted, kind, strict))


def test_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "B-LOC"]]
    result = score_entities(gold, predicted)
    assert result["precision"] == pytest.approx(2 / 4) and result["recall"] == pytest.approx(2 / 3)
    assert result["f1"] == pytest.approx(4 / 7) and result["support"] == 3
    assert result["by_type"]["LOC"] == pytest.approx({"f1": 0.5, "precision": 0.5, "recall": 0.5, "support": 2})


def test_boundaries_must_agree():
    assert score_entities([["B-PER", "I-PER"]], [["B-PER", "O"]])["f1"] == 0
    assert score_entities([["B-PER", "I-PER"]], [["B-PER", "B-PER"]])["f1"] == 0


def test_a_stray_inside_tag_counts_unless_strict():
    assert score_entities([["O", "B-PER"]], [["O", "I-PER"]])["f1"] == 1
    assert score_entities([["O", "B-PER"]], [["O", "I-PER"]], strict=True)["f1"] == 0


def test_no_entities_at_all():
    assert score_entities([["O"], []], [["O"], []]) == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 0, "macro_f1": 0.0,
                                                        "by_type": {}}


def test_strict_without_any_entity():
    """Stray tags only: seqeval itself warns of the mean of nothing."""
    assert score_entities([["O"]], [["I-PER"]], strict=True)["f1"] == 0


def test_a_truncated_sentence_is_scored_as_far_as_it_was_read():
    gold = [["B-PER", "O", "B-LOC"], ["B-LOC"]]
    assert score("ner", gold, [["B-PER", "O"], ["B-LOC"]])["f1"] == 1
    result = score("pos", [["A", "B", "C"]], [["A", "X"]])
    assert result["accuracy"] == 0.5 and result["support"] == 2 and set(result["by_tag"]) == {"A", "B", "X"}


def test_labels():
    assert score_labels(["a", "b", "a"], ["a", "a", "a"]) == {"accuracy": pytest.approx(2 / 3), "support": 3}
    assert score_labels([], []) == {"accuracy": 0.0, "support": 0}
    perfect = {"f1": 1.0, "precision": 1.0, "recall": 1.0, "support": 1}
    assert score("classification", ["a"], ["a"]) == {"accuracy": 1.0, "support": 1, "macro_f1": 1.0, "by_class": {"a": perfect},
                                                     "confusion": {"a": {"a": 1}}}
    with pytest.raises(ValueError, match="shorter"):
        score_labels(["a", "b"], ["a"])


@settings(deadline=None, derandomize=True)
@given(pairs=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1))
def test_classes_against_scikit_learn(pairs):
    """A class that is only predicted counts towards macro F1."""
    from sklearn.metrics import f1_score, precision_recall_fscore_support
    gold, predicted = ([pair[side] for pair in pairs] for side in (0, 1))
    result = score("classification", gold, predicted)
    assert result["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0))
    for label, row in result["by_class"].items():
        expected = precision_recall_fscore_support(gold, predicted, labels=[label], zero_division=0)
        assert [row[name] for name in ("precision", "recall", "f1", "support")] == pytest.approx([one[0] for one in expected])
    support = [row["support"] for row in result["by_class"].values()]
    assert support == sorted(support, reverse=True) and set(result["by_class"]) == {*gold, *predicted}


def test_no_documents_at_all():
    assert score("classification", [], []) == {"accuracy": 0.0, "support": 0, "macro_f1": 0.0, "by_class": {}, "confusion": {}}


def test_what_is_confused():
    counts = confusion(["a", "a", "a", "b", "b"], ["a", "b", "b", "c", "b"])
    assert counts == {"a": {"a": 1, "b": 2}, "b": {"b": 1, "c": 1}}
    assert confused(counts) == [("a", "b", 2), ("b", "c", 1)]


def test_records_of_evaluations_are_without_tables():
    assert figures({"en": score("classification", ["a"], ["b"])}) == {"en": {"accuracy": 0.0, "support": 1, "macro_f1": 0.0}}


def test_strict_reaches_seqeval_through_score():
    assert score("ner", [["O", "B-PER"]], [["O", "I-PER"]], strict=True)["f1"] == 0


@pytest.mark.parametrize("task, figure", [("ner", "f1"), ("pos", "accuracy"), ("classification", "accuracy")])
def test_main_figure(task, figure):
    assert main_figure(task) == figure
    one = ["B-X"] if task == "classification" else [["B-X"]]
    assert figure in score(task, one, one)


def test_mean_and_deviation_are_those_of_a_sample():
    assert mean_sd([1, 2, 6]) == (3, pytest.approx(7 ** 0.5)) and mean_sd([0.25]) == (0.25, 0.0)
    with pytest.raises(statistics.StatisticsError):
        mean_sd([])
