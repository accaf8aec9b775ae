"""Predictions of items and their balanced selection, against loops over items and classes."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minixl.data.encoding import Encoded
from minixl.methods import SCHEMA
from minixl.methods.self_learning.round import selected_examples
from minixl.methods.self_learning.selection import (NOT_SELECTED, Predicted, Selection, agreement, balanced, class_names, drawn,
                                                    extended, label_starts, predict_items)
from minixl.ops.softmax import softmax_forward
from minixl.prediction import decode_tags, source_scores
from tests.methods.planted_languages import make_model
from tests.models.hugging_face import LABELS, random_examples


def one_hot(labels, count=4):
    return np.eye(count, dtype=bool)[labels]


def test_top_k_of_each_predicted_class(rng):
    """The surest K predicted as a class; all of a class with fewer; a class that nothing is predicted as is skipped."""
    labels, confidence = rng.choice([0, 1, 3], 60, p=[0.75, 0.2, 0.05]), rng.permutation(60) / 60
    chosen = balanced(one_hot(labels), confidence, np.ones(60, bool), 8)
    for label in range(4):
        members = np.flatnonzero(labels == label)
        expected = members[np.argsort(-confidence[members])][:8]
        assert set(np.flatnonzero(chosen == label)) == set(expected)
    assert (chosen != NOT_SELECTED).sum() == sum(min(8, (labels == label).sum()) for label in range(4))


def test_an_item_with_several_classes_is_chosen_once(rng):
    classes, confidence = rng.random((80, 3)) < [0.9, 0.4, 0.1], rng.random(80)
    pool = rng.random(80) < 0.8
    chosen = balanced(classes, confidence, pool, 5)
    taken = chosen != NOT_SELECTED
    assert (classes[np.flatnonzero(taken), chosen[taken]]).all() and not taken[~pool].any()
    order = np.argsort((classes & pool[:, None]).sum(0))
    assert (chosen == order[0]).sum() == min(5, (classes[pool, order[0]]).sum())       # the rarest loses none to another
    assert all((chosen == number).sum() <= 5 for number in range(3))


def test_ties_are_broken_by_position_and_the_pool_can_be_empty():
    assert balanced(one_hot([0, 0, 0]), np.ones(3), np.ones(3, bool), 2).tolist() == [0, 0, NOT_SELECTED]
    assert (balanced(one_hot([0, 0, 0]), np.ones(3), np.zeros(3, bool), 2) == NOT_SELECTED).all()


def test_drawn_items(rng):
    """As many as the surest, of each class or in the pool's shares; each item of the pool equally often."""
    labels, pool = np.repeat([0, 1, 3], [60, 30, 10]), np.arange(100) % 10 > 0
    by_class, of_all = np.zeros(100), np.zeros(100)
    for _ in range(2000):
        for times, balance in ((by_class, True), (of_all, False)):
            chosen = drawn(one_hot(labels), pool, 12, rng, by_class=balance)
            new = chosen != NOT_SELECTED
            assert new.sum() == 12 + 12 + 9 and not new[~pool].any() and (chosen[new] == labels[new]).all()
            times += new
    for label, members in ((0, 54), (1, 27), (3, 9)):
        here = pool & (labels == label)
        np.testing.assert_allclose(by_class[here] / 2000, min(12, members) / members, atol=0.06)
        np.testing.assert_allclose(of_all[here] / 2000, 33 / 90, atol=0.06)


@pytest.mark.parametrize("rule", ["surest", "random", "unbalanced"])
def test_the_rule_of_a_selection(rng, rule):
    """What a round selects is what balanced or drawn choose from the pool."""
    labels, confidence, starts = rng.integers(0, 4, 60), rng.random(60), np.arange(61)
    predicted = Predicted(labels, starts, confidence, one_hot(labels))
    after = extended(Selection.none_of(starts), predicted, 4, 1, revise=False, rule=rule, rng=np.random.default_rng(5))
    pool = np.ones(60, bool)
    expected = (balanced(one_hot(labels), confidence, pool, 4) if rule == "surest" else
                drawn(one_hot(labels), pool, 4, np.random.default_rng(5), by_class=rule == "random"))
    np.testing.assert_array_equal(after.chosen_for, expected)
    assert after.selected.sum() == 16 and (np.bincount(labels[after.selected]) == 4).all() == (rule != "unbalanced")


def test_the_pool_shrinks_by_what_is_selected_and_nothing_is_selected_twice(rng):
    starts = np.arange(41)
    selection, total = Selection.none_of(starts), 0
    for number in range(1, 30):
        labels = rng.integers(0, 4, 40)
        predicted = Predicted(labels, starts, rng.random(40), one_hot(labels))
        expected = sum(min(3, (labels[~selection.selected] == label).sum()) for label in range(4))
        after = extended(selection, predicted, 3, number, revise=False)
        new = after.round == number
        assert new.sum() == expected and not (new & selection.selected).any()
        assert (after.labels[new] == labels[new]).all() and (after.chosen_for[new] == labels[new]).all()
        for kept, now in zip(selection, after, strict=True):
            if len(kept) == 40:
                np.testing.assert_array_equal(kept[selection.selected], now[selection.selected])
        total, selection = total + expected, after
        assert selection.selected.sum() == total
    assert total == 40


def test_revised_labels_replace_all(rng):
    starts = np.array([0, 2, 5, 6])
    before = Selection(np.zeros(6, int), starts, np.ones(3), np.zeros(3, int), np.array([1, 0, 1]))
    predicted = Predicted(np.arange(6), starts, np.array([0.2, 0.3, 0.4]), one_hot([1, 2, 3]))
    after = extended(before, predicted, 1, 2, revise=True)
    assert after.labels.tolist() == list(range(6)) and after.round.tolist() == [2, 2, 2]
    after = extended(before, predicted, 1, 2, revise=False)
    assert after.labels.tolist() == [0, 0, 2, 3, 4, 0] and after.round.tolist() == [1, 2, 1]


def test_predictions_of_a_tagger(rng):
    """Labels, confidence and classes of every sentence, from the scores word by word; a sentence of two windows is one item."""
    made, examples = make_model(SCHEMA.settings({})), random_examples(rng, [3, 6, 2, 8, 5])
    examples = [replace(e, source=max(i - 1, 0), first_word=3 if i == 1 else 0) for i, e in enumerate(examples)]
    examples[0] = replace(examples[0], rows=examples[0].rows[:3], labels=examples[0].labels[:3])
    encoded = Encoded(examples, 4)
    predicted = predict_items(made, encoded, "ner", "IOB2", constrained=True)
    np.testing.assert_array_equal(predicted.starts, label_starts(encoded, True))
    scores = source_scores(made, encoded)
    names = class_names("ner", LABELS)
    for i, (tags, values) in enumerate(zip(decode_tags(scores, LABELS, "IOB2", constrained=True), scores, strict=True)):
        ours = predicted.labels[predicted.starts[i]:predicted.starts[i + 1]]
        logs, entities, first = values[np.arange(len(ours)), ours], {}, None
        for j, tag in enumerate([*tags, "O"]):
            if first is not None and not tag.startswith("I-"):
                entities.setdefault(tags[first][2:], []).append(np.exp(logs[first:j].mean()))
                first = None
            if tag.startswith("B-"):
                first = j
            assert [LABELS[k] for k in ours] == tags
            expected = set(entities) or {"no entity"}
        assert {name for name, there in zip(names, predicted.classes[i], strict=True) if there} == expected
        least = min(min(values) for values in entities.values()) if entities else np.exp(logs).min()
        assert predicted.confidence[i] == pytest.approx(least, rel=1e-9)


def test_a_sentence_without_words_is_never_selected(rng):
    """Such as a line with nothing but a zero-width space."""
    made, (example, other) = make_model(SCHEMA.settings({})), random_examples(rng, [4, 3])
    empty = replace(example, rows=example.rows[:0], labels=example.labels[:0], source=0)
    for task, scheme in (("ner", "IOB2"), ("pos", "none")):
        predicted = predict_items(made, Encoded([empty, replace(other, source=1)], 2), task, scheme, constrained=True)
        assert predicted.starts.tolist() == [0, 0, 3] and predicted.confidence[0] == 0 and not predicted.classes[0].any()
        assert predicted.classes[1].any()


def test_predictions_of_a_classifier(rng):
    """The mean over the windows of a document is normalised again."""
    made = make_model(SCHEMA.settings({}), "mean")
    examples = [replace(e, rows=np.zeros(0, int), labels=np.zeros(1, int), source=i // 2, first_word=0)
                for i, e in enumerate(random_examples(rng, [3, 6, 2, 8]))]
    encoded = Encoded(examples, 2)
    predicted = predict_items(made, encoded, "classification", "none", constrained=True)
    probs = softmax_forward(np.stack(source_scores(made, encoded)))[0]
    np.testing.assert_array_equal(predicted.labels, probs.argmax(1))
    np.testing.assert_allclose(predicted.confidence, probs.max(1), rtol=1e-9)
    assert predicted.classes.sum() == 2 and predicted.classes[[0, 1], predicted.labels].all()
    assert predicted.starts.tolist() == [0, 1, 2]


def test_selected_examples_have_their_labels_in_every_window(rng):
    examples = random_examples(rng, [4, 5, 3])
    examples = [replace(examples[0], source=0), replace(examples[1], source=1), replace(examples[2], source=1, first_word=5)]
    rows = [len(e.rows) for e in examples]
    starts = np.array([0, rows[0], rows[0] + 8])
    selection = Selection(np.arange(rows[0] + 8), starts, np.ones(2), np.zeros(2, int), np.array([0, 2]))
    chosen = selected_examples(Encoded(examples, 2), selection, tagger=True)
    windows = [range(rows[0], rows[0] + rows[1]), range(rows[0] + 5, rows[0] + 5 + rows[2])]
    assert [e.labels.tolist() for e in chosen] == [list(window) for window in windows]
    documents = Selection(np.array([3, 1]), np.arange(3), np.ones(2), np.zeros(2, int), np.array([1, 0]))
    assert [e.labels.tolist() for e in selected_examples(Encoded(examples, 2), documents, tagger=False)] == [[3]]


def test_agreement():
    assert agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75
    assert agreement(np.zeros(0), np.zeros(0)) == 1.0
