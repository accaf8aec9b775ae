"""AdvPicker's stages B to D: what sentences and windows share, which teacher and which sentences are kept, what is counted."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.data.encoding import scored_starts
from minixl.data.schemes import legal_transitions
from minixl.methods.advpicker.labels import (Merged, Scored, agreement, confidence, histogram, independence, mask, merge,
                                             pseudo_tags, score_sentences, select, split_scores, sweep)
from minixl.models.bert_config import BertConfig
from minixl.models.transformer import Transformer
from minixl.ops.softmax import softmax_forward
from minixl.prediction import decode_tags, source_scores
from tests.methods.advpicker.tiny_teachers import LABELS, SIZES, TEXTS, encoded, teacher


def scored(rng, count: int = 9, words: int = 4) -> Scored:
    """A made-up teacher."""
    lengths = rng.permutation(np.arange(count) % words + 1) if count else np.zeros(0, int)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Scored(rng.dirichlet(np.ones(len(LABELS)), starts[-1]), starts, rng.random(count), rng.normal(size=count))


def by_hand(made: Transformer, examples, specials: bool = True) -> tuple[float, float]:
    """p̄ and the mean highest logit of a sentence, piece by piece in one flat list, straight from the parameters."""
    values = {parameter.name: to_numpy(parameter.value) for parameter in made.store}
    language, highest = [], []
    for example in examples:
        hidden = made.bert.forward(example.input_ids, np.arange(len(example.input_ids)),
                                   np.array([0, len(example.input_ids)]), rng=None, keep=False)[0]
        for t, h in enumerate(hidden):
            inner = np.maximum(values["discriminator.dense.weight"] @ h + values["discriminator.dense.bias"], 0)
            s = values["discriminator.out.weight"] @ inner + values["discriminator.out.bias"]
            if specials or 0 < t < len(hidden) - 1:
                language.append(1 / (1 + np.exp(-s[0])))
            highest.append((values["classifier.weight"] @ h + values["classifier.bias"]).max())
    return float(np.mean(language)), float(np.mean(highest))


# Stage B

@pytest.mark.parametrize("max_length, windows", [(40, 6), (14, 9)])
@pytest.mark.parametrize("specials", [True, False])
def test_the_language_of_a_sentence_is_the_mean_over_its_pieces(max_length, windows, specials):
    made, data = teacher(), encoded(max_length=max_length)
    assert len(data.examples) == windows
    found = score_sentences(made, data, specials=specials)
    for i in range(len(TEXTS)):
        p_bar, highest = by_hand(made, [e for e in data.examples if e.source == i], specials)
        assert found.p_bar[i] == pytest.approx(p_bar, rel=1e-9) and found.max_logit[i] == pytest.approx(highest, rel=1e-9)
    assert np.ptp(found.p_bar) > 0.05, "the test says nothing where all sentences are alike"


@pytest.mark.parametrize("tokens", [1, 20, 1000])
@pytest.mark.parametrize("max_length", [14, 40])
def test_what_else_is_in_the_batch_changes_nothing(tokens, max_length):
    made = teacher()
    found = score_sentences(made, encoded(max_length=max_length), tokens=tokens)
    np.testing.assert_array_equal(np.diff(found.starts), [len(text.split()) for text in TEXTS])
    for i, text in enumerate(TEXTS):
        alone = score_sentences(made, encoded([text], max_length))
        assert found.p_bar[i] == pytest.approx(alone.p_bar[0], rel=1e-12)
        assert found.max_logit[i] == pytest.approx(alone.max_logit[0], rel=1e-12)
        np.testing.assert_allclose(found.probabilities[found.starts[i]:found.starts[i + 1]], alone.probabilities, rtol=1e-10)


def test_soft_labels_are_what_the_tagger_predicts():
    """The same numbers as prediction's, window by window, and no dropout: a second call gives the same bits."""
    made, data, seen = teacher(), encoded(max_length=14), []
    found = score_sentences(made, data, progress=seen.append)
    expected = np.exp(np.concatenate(source_scores(made, data)))
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-10)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-12)
    assert sum(seen) == data.pieces
    np.testing.assert_array_equal(score_sentences(made, data).probabilities, found.probabilities)


def test_on_the_device(xp):
    """float32, as teachers are, on every backend."""
    found, exact = score_sentences(teacher(dtype=np.float32, xp=xp), encoded()), score_sentences(teacher(), encoded())
    assert found.probabilities.dtype == np.float32 and all(isinstance(part, np.ndarray) for part in found)
    for part, expected in zip(found, exact, strict=True):
        np.testing.assert_allclose(part, expected, rtol=2e-4, atol=1e-6)


def test_a_discriminator_of_sentences():
    made, data = teacher(discriminator="sentence"), encoded(TEXTS[:3])
    found = score_sentences(made, data)
    weight, bias = made.store["discriminator.weight"].value, made.store["discriminator.bias"].value
    for example, p_bar in zip(data.examples, found.p_bar, strict=True):
        n = len(example.input_ids)
        hidden = made.bert.forward(example.input_ids, np.arange(n), np.array([0, n]), rng=None, keep=False)[0]
        assert p_bar == pytest.approx(1 / (1 + np.exp(-(weight @ hidden.mean(0) + bias)[0])), rel=1e-9)


def test_words_that_were_cut_have_no_labels():
    data = encoded(max_length=14, on_long="truncate")
    found = score_sentences(teacher(), data)
    assert data.cut_words == 6 and found.starts[-1] == sum(len(t.split()) for t in TEXTS) - 6
    np.testing.assert_array_equal(found.starts, scored_starts(data))


def test_no_sentences():
    found = score_sentences(teacher(), encoded([]))
    assert found.probabilities.shape == (0, 5) and found.starts.tolist() == [0] and len(found.p_bar) == 0


@pytest.mark.parametrize("pooling, found", [("token", "tagger without one"), ("mean", "classifier")])
def test_a_teacher_needs_a_discriminator(pooling, found):
    made = Transformer(BertConfig.from_json(SIZES), LABELS, pooling)
    with pytest.raises(ValueError, match=rf"^teacher: expected a tagger trained with a language discriminator "
                                         rf"\(adversary.level=token\), found a {found}$"):
        score_sentences(made, encoded())


def test_a_teacher_that_diverged():
    made = teacher()
    made.store["discriminator.out.bias"].value[...] = np.nan
    with pytest.raises(FloatingPointError, match="^the teacher's scores became nan: its learning rate"):
        score_sentences(made, encoded())


# Stage C

@pytest.mark.parametrize("rule", ["max_probability", "max_logit"])
def test_labels_and_language_travel_together(rng, rule):
    first = scored(rng)
    again = lambda: scored(rng)._replace(starts=first.starts, probabilities=rng.dirichlet(np.ones(5), first.starts[-1]))
    teachers = [first, again(), again(), again()]
    merged = merge(teachers, rule)
    for i, (a, b) in enumerate(zip(first.starts[:-1], first.starts[1:], strict=True)):
        sure = [t.max_logit[i] if rule == "max_logit" else np.mean([max(row) for row in t.probabilities[a:b]]) for t in teachers]
        best = int(np.argmax(sure))
        assert merged.teacher[i] == best and merged.p_bar[i] == teachers[best].p_bar[i]
        np.testing.assert_array_equal(merged.probabilities[a:b], teachers[best].probabilities[a:b])
    assert len(set(merged.teacher.tolist())) > 1


def test_equally_sure_teachers_and_a_single_one(rng):
    one = scored(rng)
    merged = merge([one, one._replace(p_bar=one.p_bar + 1)])
    assert not merged.teacher.any() and (merged.p_bar == one.p_bar).all()
    np.testing.assert_array_equal(merge([one]).probabilities, one.probabilities)


def shifted_teachers(shift: float) -> list[Scored]:
    """Three teachers; a constant is added to all logits of the last."""
    models = [teacher(seed) for seed in (1, 2, 3)]
    models[-1].store["classifier.bias"].value[...] += shift
    return [score_sentences(made, encoded()) for made in models]


def test_a_constant_on_the_logits_of_one_teacher_changes_nothing():
    before, after = merge(shifted_teachers(0)), merge(shifted_teachers(50))
    assert len(set(before.teacher.tolist())) > 1, "the test says nothing where one teacher is always the most confident"
    np.testing.assert_array_equal(before.teacher, after.teacher)
    np.testing.assert_array_equal(before.p_bar, after.p_bar)
    np.testing.assert_allclose(before.probabilities, after.probabilities, rtol=1e-10)


def test_the_rule_of_the_published_code_does_not_withstand_it():
    before, after = merge(shifted_teachers(0), "max_logit"), merge(shifted_teachers(50), "max_logit")
    assert (after.teacher == 2).all() and not (before.teacher == 2).all()


def test_teachers_of_other_text_or_another_rule(rng):
    one = scored(rng)
    with pytest.raises(ValueError, match="^merge: teacher 1 scored 8 sentences of .* words with 5 labels, teacher 0 9 sentences"):
        merge([one, scored(rng, 8)])
    with pytest.raises(ValueError, match="^merge: expected one of max_probability, max_logit, got 'sum'$"):
        merge([one], "sum")


def test_confidence_of_a_sentence_without_words():
    empty = Scored(np.array([[0.2, 0.8]]), np.array([0, 0, 1]), np.zeros(2), np.zeros(2))
    assert confidence(empty).tolist() == [0, 0.8]


# Stage D

def test_independence(rng):
    values = independence(np.concatenate([rng.random(1000), [0, 0.5, 1, 0.25]]))
    assert values.min() >= 0.5 and values.max() <= 1
    np.testing.assert_allclose(values[-4:], [0.5, 1, 0.5, 0.75])


def test_the_mean_comes_before_the_distance():
    """Pieces that are surely one and surely the other by turns: together they side with neither language."""
    pieces = np.array([0.98, 0.02] * 5)
    assert independence(pieces.mean(keepdims=True))[0] == pytest.approx(1)
    assert independence(pieces).mean() == pytest.approx(0.52), "what the other order would give"
    made = teacher()
    for name in ("discriminator.dense.weight", "discriminator.out.weight"):
        made.store[name].value[...] *= 40                              # every piece now takes a side
    found = independence(score_sentences(made, encoded()).p_bar)
    assert found.max() > 0.75 and found.min() < 0.7


@pytest.mark.parametrize("rho", [0.03, 0.1, 0.29, 0.5, 0.8, 0.999, 1.0])
@pytest.mark.parametrize("count", [1, 7, 100, 12167])
def test_exactly_so_many_are_selected(rng, count, rho):
    values = independence(rng.random(count).round(2))                  # many ties
    if not int(rho * count):
        with pytest.raises(ValueError, match=f"^advpicker.rho: expected a share .* of the {count} unlabelled .*, got {rho}$"):
            select(values, rho)
        return
    chosen = select(values, rho)
    assert len(chosen) == len(set(chosen.tolist())) == int(rho * count)
    assert chosen.tolist() == sorted(range(count), key=lambda i: (-values[i], i))[:int(rho * count)]
    np.testing.assert_array_equal(np.flatnonzero(mask(chosen, count)), np.sort(chosen))


def test_the_sizes_of_table_5():
    assert [len(select(np.ones(n), 0.8)) for n in (12167, 8405, 15836)] == [9733, 6724, 12668]


@pytest.mark.parametrize("rho", [0.0, -0.5, 1.01, float("nan")])
def test_a_share_that_is_none(rho):
    with pytest.raises(ValueError, match="^advpicker.rho: expected a share .* of the 10 unlabelled sentences"):
        select(np.ones(10), rho)


# Pseudo-labels and what is counted of them

def test_pseudo_tags_obey_the_scheme(rng):
    probabilities = rng.dirichlet(np.full(5, 0.3), 600)
    probabilities[:60] = np.eye(5)[rng.integers(0, 5, 60)]             # certain, so that legal paths have probability 0
    starts = np.arange(0, 601, 6)
    tags = pseudo_tags(Merged(probabilities, starts, np.zeros(100), np.zeros(100, int)), LABELS, "IOB2")
    legal = legal_transitions(LABELS, "IOB2")
    for sequence in tags:
        ids = [LABELS.index(tag) for tag in sequence]
        assert legal.start[ids[0]] and all(legal.transitions[a, b] for a, b in zip(ids, ids[1:], strict=False))
    free = pseudo_tags(Scored(probabilities, starts, np.zeros(100), np.zeros(100)), LABELS, "IOB2", constrained=False)
    assert [tag for sequence in free for tag in sequence] == [LABELS[i] for i in probabilities.argmax(axis=1)]
    assert free != tags, "the test says nothing where every free sequence is legal"


def test_pseudo_tags_are_written_in_iob2():
    probabilities = np.eye(5)[[1, 4, 0, 2, 3]]                         # B-X E-X, O S-X; the last word cannot go on
    soft = Merged(probabilities, np.array([0, 2, 5]), np.zeros(2), np.zeros(2, int))
    tags = pseudo_tags(soft, ["O", "B-X", "S-X", "I-X", "E-X"], "IOBES")
    assert tags[0] == ["B-X", "I-X"] and tags[1][:2] == ["O", "B-X"] and len(tags[1]) == 3


def test_pseudo_tags_are_those_of_prediction():
    made, data = teacher(), encoded()
    assert pseudo_tags(score_sentences(made, data), LABELS, "IOB2") == decode_tags(source_scores(made, data), LABELS, "IOB2")


GOLD = [["B-X", "I-X", "O"], ["B-Y"], ["O", "B-X"], ["B-Y", "O"]]
FOUND = [["B-X", "I-X", "O"], ["B-X"], ["O", "B-X"], ["O", "B-Y"]]


def test_selected_and_other():
    selected, other, everything = split_scores("ner", GOLD, FOUND, np.array([True, False, True, False]))
    assert (selected["part"], selected["sentences"], selected["support"], selected["f1"]) == ("selected", 2, 2, 1)
    assert (other["part"], other["sentences"], other["support"], other["f1"]) == ("other", 2, 2, 0)
    assert (everything["part"], everything["sentences"], everything["support"], everything["f1"]) == ("all", 4, 4, 0.5)
    words = split_scores("pos", GOLD, FOUND, np.array([True, False, True, False]))
    assert [row["accuracy"] for row in words] == [1, 0, 5 / 8]
    nothing_left = split_scores("ner", GOLD, FOUND, np.ones(4, bool))
    assert [row["sentences"] for row in nothing_left] == [4, 0, 4] and nothing_left[1]["f1"] == 0


def test_sweep():
    rows = sweep("ner", GOLD, FOUND, np.array([0.9, 0.6, 0.8, 0.7]), [0.1, 0.25, 0.5, 0.75, 1.0])
    found = [(row["rho"], row["sentences"], row["support"]) for row in rows]
    assert found == [(0.25, 1, 1), (0.5, 2, 2), (0.75, 3, 3), (1.0, 4, 4)]
    assert [row["f1"] for row in rows] == pytest.approx([1, 1, 2 / 3, 0.5])


def test_histogram(rng):
    p_bar, selected = np.concatenate([rng.random(100), [0, 1]]), rng.random(102) < 0.5
    rows = histogram(p_bar, selected, 4)
    assert [(row["from"], row["to"]) for row in rows] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert rows[1]["sentences"] == ((p_bar >= 0.25) & (p_bar < 0.5)).sum()
    assert sum(row["sentences"] for row in rows) == 102 and sum(row["selected"] for row in rows) == selected.sum()


def test_agreement_of_teachers():
    labels = [np.eye(3)[[0, 1, 2, 2]] * weight + (1 - weight) / 3 for weight in (0.9, 0.5)]
    labels[1][3] = softmax_forward(np.array([0.0, 5.0, 0.0]))[0]
    teachers = [Scored(part, np.array([0, 2, 4]), np.zeros(2), np.zeros(2)) for part in labels]
    rows = agreement(teachers, merge(teachers))
    assert [(row["teacher"], row["chosen"], row["agreement"]) for row in rows] == [(0, 2, 1.0), (1, 0, 0.75)]
    assert rows[0]["confidence"] == pytest.approx(0.9 + 0.1 / 3) and rows[1]["confidence"] < rows[0]["confidence"]
