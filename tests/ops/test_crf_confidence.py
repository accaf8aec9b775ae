"""tag_probabilities and entity_probabilities against sums over all paths."""
import numpy as np
import pytest

from minixl.backend import to_numpy
from minixl.ops.crf_confidence import continuations, entity_probabilities, tag_probabilities
from tests.ops.chain_brute_force import LENGTHS, all_paths, options, random_chain, random_legal
from tests.ops.test_crf import brute_force, legal_tags

LABELS = ["O", "B-PER", "I-PER", "I-LOC"]
CONTINUES = continuations(LABELS)


def by_listing(chain, span, tags, continues=None, legal=None):
    """P(entity), by enumerating the paths that contain it."""
    b = int(np.searchsorted(chain.starts, span[0], side="right")) - 1
    begin, first, after = int(chain.starts[b]), span[0] - int(chain.starts[b]), span[1] - int(chain.starts[b])
    entity, all_scores, scores = tuple(tags[span[0]:span[1]]), [], []
    for score, path in all_paths(chain, b, legal):
        all_scores.append(score)
        contained = path[first:after] == entity
        if contained and continues is not None:
            contained = not (first and continues[path[first - 1], path[first]])
            contained = contained and not (begin + after < chain.starts[b + 1] and continues[path[after - 1], path[after]])
        if contained:
            scores.append(score)
    return float(np.exp(np.logaddexp.reduce(scores) - np.logaddexp.reduce(all_scores))) if scores else 0.0


def every_span(starts):
    return [(i, j) for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist())
            for i in range(begin, end) for j in range(i + 1, end + 1)]


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["ordinary", "large"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_tag_probabilities(xp, rng, lengths, scale):
    chain = random_chain(rng, lengths, scale=scale)
    moved = {name: xp.asarray(value) for name, value in options(chain).items()}
    probabilities = to_numpy(tag_probabilities(xp.asarray(chain.scores), chain.starts, **moved))
    expected = brute_force(chain, np.zeros(len(chain.scores), np.int64))[1]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("continues", [None, CONTINUES], ids=["tags only", "whole entity"])
@pytest.mark.parametrize("boundaries", [True, False], ids=["start+end", "plain"])
def test_every_span_of_a_batch(xp, rng, continues, boundaries):
    chain = random_chain(rng, (3, 1, 0, 4, 2), 4, boundaries)
    tags, spans = rng.integers(0, 4, len(chain.scores)), every_span(chain.starts)
    moved = {name: None if value is None else xp.asarray(value) for name, value in options(chain).items()}
    probabilities = entity_probabilities(xp.asarray(chain.scores), chain.starts, np.array(spans), tags,
                                         continues=continues, **moved)
    expected = [by_listing(chain, span, tags, continues) for span in spans]
    np.testing.assert_allclose(to_numpy(probabilities), expected, rtol=1e-9, atol=1e-12)


def test_under_the_rules_of_a_scheme(rng):
    chain, legal = random_chain(rng, (4, 3), 4), random_legal(rng, 4)
    tags, spans = legal_tags(rng, chain, legal), every_span(np.array([0, 4, 7]))
    probabilities = entity_probabilities(chain.scores, chain.starts, np.array(spans), tags, legal=legal, continues=CONTINUES,
                                         **options(chain))
    np.testing.assert_allclose(probabilities, [by_listing(chain, span, tags, CONTINUES, legal) for span in spans], rtol=1e-9)


def test_one_tag_is_the_node_marginal_and_certainty_is_one(rng):
    chain = random_chain(rng)
    tags = rng.integers(0, 3, len(chain.scores))
    rows = np.arange(len(tags))
    probabilities = entity_probabilities(chain.scores, chain.starts, np.stack([rows, rows + 1], 1), tags, **options(chain))
    np.testing.assert_allclose(probabilities, tag_probabilities(chain.scores, chain.starts, **options(chain))[rows, tags])
    sure = np.where(np.eye(3, dtype=bool)[tags], 1000.0, -1000.0)
    whole = np.array([[begin, end] for begin, end in zip(chain.starts[:-1], chain.starts[1:]) if end > begin])
    np.testing.assert_allclose(entity_probabilities(sure, chain.starts, whole, tags, **options(chain)), 1.0)


def test_float32(rng):
    chain = random_chain(rng, (60, 30), 4, dtype=np.float32)
    tags, spans = rng.integers(0, 4, 90), np.array([[0, 2], [10, 11], [58, 60], [61, 64]])
    narrow = entity_probabilities(chain.scores, chain.starts, spans, tags, **options(chain))
    wide = entity_probabilities(chain.scores.astype(float), chain.starts, spans, tags,
                                **{name: value.astype(float) for name, value in options(chain).items()})
    assert narrow.dtype == np.float32
    np.testing.assert_allclose(narrow, wide, rtol=1e-5)


def test_continuations():
    labels = ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "NOUN"]
    allowed = {(a, b) for i, a in enumerate(labels) for j, b in enumerate(labels) if continuations(labels)[i, j]}
    assert allowed == {("B-X", "I-X"), ("B-X", "E-X"), ("I-X", "I-X"), ("I-X", "E-X"), ("B-Y", "I-Y"), ("I-Y", "I-Y")}
    assert continuations([]).shape == (0, 0)


def test_no_span_and_wrong_spans(rng):
    chain = random_chain(rng, (3, 2))
    tags = np.zeros(5, np.int64)
    assert entity_probabilities(chain.scores, chain.starts, np.zeros((0, 2), int), tags, **options(chain)).shape == (0,)
    for wrong in ([2, 4], [3, 3], [4, 6], [-1, 1]):
        with pytest.raises(ValueError, match=rf"inside one sentence, got \[{wrong[0]}, {wrong[1]}\)"):
            entity_probabilities(chain.scores, chain.starts, np.array([[0, 1], wrong]), tags, **options(chain))
