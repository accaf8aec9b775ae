"""Prediction: the order of inputs, windows, decoding, what a Predictor returns for taggers and classifiers."""
import itertools

import numpy as np
import pytest

import minixl
from minixl.building.folder import ModelInfo, save_model
from minixl.data.encoding import encode_documents, encode_sentences
from minixl.data.examples import Document, Sentence
from minixl.data.lexicon import Lexicon
from minixl.data.schemes import convert, legal_transitions, spans
from minixl.errors import UserError
from minixl.models.bert_config import BertConfig
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from minixl.models.transformer import Transformer
from minixl.prediction import Predictor, decode_tags, predict_labels, source_scores
from minixl.weights.folder import read_config
from minixl.weights.tokenizer import Tokenizer
from tests.data.piece_tokenizer import LetterTokenizer
from tests.tiny import write_encoder

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SIZES = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
         "max_position_embeddings": 40}
TEXTS = ["ab cd", "x", "abcd efgh ijkl mn", "", "y z", "ab cd"]


def model(pooling: str, labels=LABELS, config: BertConfig | None = None) -> Transformer:
    made, rng = Transformer(config or BertConfig.from_json(SIZES), labels, pooling), np.random.default_rng(2)
    for parameter in made.store:
        parameter.value[...] = 0.4 * rng.normal(size=parameter.value.shape) + ("LayerNorm.weight" in parameter.name)
    return made


def sentences(texts=TEXTS, max_length: int = 30, **options):
    rows = [Sentence(tuple(text.split()), None, i + 1) for i, text in enumerate(texts)]
    return encode_sentences(rows, LetterTokenizer(), None, max_length=max_length, **options)


def documents(texts=TEXTS, max_length: int = 30, **options):
    return encode_documents([Document(text, None, i + 1) for i, text in enumerate(texts)], LetterTokenizer(), None,
                            max_length=max_length, **options)


@pytest.mark.parametrize("tokens", [1, 12, 1000])
@pytest.mark.parametrize("pooling", ["token", "mean", "cls"])
def test_results_are_in_the_order_of_the_inputs(pooling, tokens):
    """Whatever the batches are, each input has the same result as alone."""
    made, encode = model(pooling), sentences if pooling == "token" else documents
    seen = []
    found = source_scores(made, encode(), tokens=tokens, progress=seen.append)
    assert sum(seen) == encode().pieces and len(found) == len(TEXTS)
    for text, part in zip(TEXTS, found, strict=True):
        expected = source_scores(made, encode([text]))[0]
        assert part.shape == ((len(text.split()), 5) if pooling == "token" else (5,))
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.exp(part).sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(found[0], found[5], rtol=1e-5)


def test_a_long_sentence_is_joined_from_its_windows():
    made, text = model("token"), "abc de fgh i jk lmn op qrs"
    encoded = sentences([text], max_length=12)
    assert len(encoded.examples) > 2
    found = source_scores(made, encoded)[0]
    parts = []
    for example in encoded.examples:
        letters = "".join(map(chr, example.input_ids[1:-1]))
        words = text.split()
        first = next(i for i in range(len(words)) if "".join(words[i:]).startswith(letters))
        here = [w for w in words[first:] if "".join(words[first:]).index(w) < len(letters)]
        alone = source_scores(made, sentences([" ".join(here)]))[0]
        parts.append(alone[example.first_word - first:][:len(example.rows)])
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-4, atol=1e-5)


def test_a_long_document_is_the_mean_of_its_windows():
    made = model("mean")
    found = source_scores(made, documents(["abc def ghi jkl"], max_length=8))[0]
    parts = source_scores(made, documents(["abc def", "ghi jkl"]))
    np.testing.assert_allclose(found, np.mean(parts, axis=0), rtol=1e-4, atol=1e-5)


def test_no_inputs():
    assert source_scores(model("token"), sentences([])) == [] == decode_tags([], LABELS, "IOB2")


def test_constrained_decoding(rng):
    """Never an illegal tag sequence, and no worse than any legal one; unconstrained it is the best tag of every word."""
    scores = [np.log(rng.dirichlet(np.ones(5), n)) for n in (3, 0, 1, 6, 2)]
    legal = legal_transitions(LABELS, "IOB2")
    tags = decode_tags(scores, LABELS, "IOB2")
    assert [len(t) for t in tags] == [3, 0, 1, 6, 2]
    for one in tags:
        numbers = [LABELS.index(tag) for tag in one]
        assert all(legal.transitions[a, b] for a, b in zip(numbers, numbers[1:], strict=False))
        assert not numbers or legal.start[numbers[0]]
    free = decode_tags(scores, LABELS, "IOB2", constrained=False)
    assert free == [[LABELS[i] for i in part.argmax(1)] for part in scores]
    assert free != tags, "the random scores should make the rule bite"


@pytest.mark.parametrize("task, pooling", [("ner", "token"), ("pos", "token"), ("classification", "cls")])
def test_predict_labels(task, pooling):
    made, encoded = model(pooling), (sentences if pooling == "token" else documents)()
    log_probs = source_scores(made, encoded)
    expected = {"ner": lambda: decode_tags(log_probs, LABELS, "IOB2"), "pos": lambda: decode_tags(log_probs, LABELS, "none"),
                "classification": lambda: [LABELS[p.argmax()] for p in log_probs]}[task]()
    assert predict_labels(made, encoded, "IOB2" if task == "ner" else "none") == expected


def predictor(folder, pooling: str, task: str, **options) -> Predictor:
    """A model with random weights, saved and loaded again."""
    write_encoder(folder / "encoder")
    info = ModelInfo(task=task, labels=LABELS, scheme="IOB2" if task == "ner" else "none", pooling=pooling, max_length=32,
                     **options)
    made = model(pooling, config=read_config(folder / "encoder"))
    save_model(folder / "model", made, Tokenizer(folder / "encoder"), info, dict(made.config.raw))
    loaded = Predictor.load(folder / "model", device="cpu")
    for parameter in made.store:
        np.testing.assert_array_equal(loaded.model.store[parameter.name].value, parameter.value)
    return loaded


def test_a_tagger_on_texts(tmp_path):
    ours = predictor(tmp_path, "token", "ner")
    texts = ["anna visited paris .", "", "ben lives in madrid.", "the the anna ben paris " * 3]
    results = ours.predict(texts)
    assert [r["text"] for r in results] == texts
    assert results[1] == {"text": "", "words": [], "tags": [], "confidences": [], "entities": []}
    assert any(r["entities"] for r in results), "the random model should tag something"
    for result in results:
        words = [result["text"][a:b] for a, b in result["words"]]
        answer, = ours.tag([words])
        probs = answer.confidences
        assert result["tags"] == answer.tags and len(answer.tags) == len(words) == len(probs)
        for entity in result["entities"]:
            first, last = entity["first_word"], entity["last_word"]
            assert result["tags"][first:last + 1] == [f"B-{entity['type']}"] + [f"I-{entity['type']}"] * (last - first)
            assert entity["text"] == result["text"][entity["start"]:entity["end"]]
            assert (entity["start"], entity["end"]) == (result["words"][first][0], result["words"][last][1])
            geometric = float(np.prod(probs[first:last + 1])) ** (1 / (last - first + 1))
            assert entity["confidence"] == pytest.approx(geometric, abs=1e-4)
    assert sum(len(r["entities"]) for r in results) == sum(tag.startswith("B-") for r in results for tag in r["tags"])


def test_probabilities_of_the_tags(tmp_path):
    ours = predictor(tmp_path, "token", "ner")
    words = "anna ben visited paris in madrid".split()
    (tags, probs, _), = ours.tag([words])
    encoded = encode_sentences([Sentence(tuple(words), None, 1)], ours.tokenizer, None, max_length=32)
    log_probs = source_scores(ours.model, encoded)[0]
    np.testing.assert_allclose(probs, np.exp([log_probs[i, LABELS.index(tag)] for i, tag in enumerate(tags)]), rtol=1e-5)


@pytest.mark.parametrize(("task", "untagged"), [("ner", "O"), ("pos", "_")])
def test_words_beyond_a_cut_are_untagged(tmp_path, task, untagged):
    """A model for parts of speech has no tag O.  Words that were cut are counted over all calls."""
    ours = predictor(tmp_path, "token", task, on_long="truncate")
    (tags, probs, _), = ours.tag([["anna"] * 50])
    assert len(tags) == len(probs) == 50 and tags[30:] == [untagged] * 20 and not probs[30:].any() and probs[:30].all()
    assert ours.predict(["anna", "ben " * 33])[1]["tags"][30:] == [untagged] * 3
    assert ours.read.report("es") == "es: 3 inputs, 67 pieces, 2 longer than the limit, 23 words cut"


def test_a_classifier_counts_what_it_cuts(tmp_path):
    (ours := predictor(tmp_path, "cls", "classification", on_long="truncate")).predict(["anna", "anna " * 50])
    assert ours.read.report("es") == "es: 2 inputs, 35 pieces, 1 longer than the limit, 20 word pieces cut"


def test_plain_tags_have_no_entities(tmp_path):
    result, = predictor(tmp_path, "token", "pos").predict(["anna lives ."])
    assert result.keys() == {"text", "words", "tags", "confidences"} and set(result["tags"]) <= set(LABELS)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_classifier(tmp_path, pooling):
    ours = predictor(tmp_path, pooling, "classification")
    texts = ["anna visited paris .", "the madrid " * 30]
    results = ours.predict(texts)
    for text, result in zip(texts, results, strict=True):
        assert result["text"] == text and list(result["probabilities"]) == LABELS
        assert sum(result["probabilities"].values()) == pytest.approx(1, abs=5e-4)
        assert result["label"] == max(result["probabilities"], key=result["probabilities"].get)
        assert result["confidence"] == result["probabilities"][result["label"]]
    with pytest.raises(ValueError, match="^expected a tagger, found a classification model$"):
        ours.tag([["anna"]])


def test_an_argument_that_is_not_a_list_of_strings(tmp_path):
    ours = predictor(tmp_path, "token", "ner")
    with pytest.raises(TypeError, match=r"^predict: expected a list of strings, got one string; use predict\(\[text\]\)$"):
        ours.predict("anna")
    with pytest.raises(TypeError, match="^predict: expected a list of strings, got NoneType at index 1$"):
        ours.predict(["anna", None])
    for wrong in (None, 5):
        with pytest.raises(TypeError, match=f"^predict: expected a list of strings, got {type(wrong).__name__}$"):
            ours.predict(wrong)
    assert ours.predict(text for text in ["anna"]) == ours.predict(["anna"])        # any iterable of strings is accepted
    with pytest.raises(ValueError, match=r"^predict: expected a list of strings, got the lone surrogate '\\ud800' in 'a \\ud800' "
                                         "at index 1; decode the text again with its own encoding$"):
        ours.predict(["anna", "a \ud800"])


@pytest.mark.parametrize(("sentences", "message"), [
    (None, "expected a list of sentences, each a list of words, got NoneType"),
    ("anna lives", "expected a list of sentences, each a list of words, got one string"),
    (["anna lives"], "sentence at index 0: expected a list of words, got one string; split it into words"),
    ([["anna"], 5], "sentence at index 1: expected a list of words, got int"),
    ([["anna", 5]], "sentence at index 0: expected a list of words, got int at index 1"),
    ([["anna", "\udc80"]],
     r"sentence at index 0: expected a list of words, got the lone surrogate '\\udc80' in '\\udc80' at index 1; decode")])
def test_sentences_that_are_not_lists_of_words(tmp_path, sentences, message):
    with pytest.raises((TypeError, ValueError), match=f"^tag: {message}"):
        predictor(tmp_path, "token", "ner").tag(sentences)


@pytest.mark.parametrize("folder", [5, None, b"model", ["model"]])
def test_a_folder_that_is_no_path(folder):
    with pytest.raises(TypeError, match=f"^load: expected the path of a model folder, got {type(folder).__name__}$"):
        minixl.load(folder)


IOBES = ["O", *(f"{letter}-{kind}" for kind in ("LOC", "PER") for letter in "BIES")]


def word_level(folder, labels=IOBES, task="ner", scheme="IOBES", **options) -> Predictor:
    """A BiLSTM-CRF with random weights, saved and loaded again."""
    lexicon = Lexicon(["anna", "ben", "paris", "visited", "."], list("abeinprstv."))
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, word_size=6, char_size=4, char_hidden=3,
                             word_hidden=5, dense_size=5, start_end=True)
    made, rng = BilstmCrf(config, labels, lexicon), np.random.default_rng(8)
    for parameter in made.store:
        parameter.value[...] = rng.normal(size=parameter.value.shape)
    for i, j in itertools.product(range(len(labels)), repeat=2):       # entities of two words, which are rare by chance
        made.store["crf.transitions"].value[i, j] += 4 * (labels[i][0] + labels[j][0] == "BE")
    info = ModelInfo(task=task, labels=labels, scheme=scheme, pooling="token", max_length=40, family="bilstm-crf", **options)
    save_model(folder / "model", made, lexicon, info, config.to_json())
    return Predictor.load(folder / "model", device="cpu")


def distribution(ours: Predictor, words: list[str]) -> dict[tuple[str, ...], float]:
    """Return every tag sequence that decoding allows, and its probability, by summing over all of them."""
    encoded = encode_sentences([Sentence(tuple(words), None, 1)], ours.tokenizer, None, max_length=40)
    emissions = source_scores(ours.model, encoded)[0].astype(float)
    chain = {name: value.astype(float) for name, value in ours.model.decoder().items()}
    legal = legal_transitions(ours.model.labels, ours.info.scheme)
    weights = {}
    for path in itertools.product(range(len(ours.model.labels)), repeat=len(words)):
        pairs = list(zip(path, path[1:], strict=False))
        allowed = legal.start[path[0]] and legal.end[path[-1]] and all(legal.transitions[p] for p in pairs)
        if ours.info.constrained and not allowed:
            continue
        score = chain["start"][path[0]] + chain["end"][path[-1]] + sum(emissions[i, tag] for i, tag in enumerate(path))
        weights[tuple(ours.model.labels[i] for i in path)] = np.exp(score + sum(chain["transitions"][p] for p in pairs))
    total = sum(weights.values())
    return {path: weight / total for path, weight in weights.items()}


@pytest.mark.parametrize("words", ["anna", "ben visited", "anna ben paris", "paris never 😀 ."])
def test_a_crf_knows_how_likely_its_tags_and_entities_are(tmp_path, words):
    """Word confidences are marginals, an entity's is the probability of exactly this span, over all legal sequences."""
    ours, words = word_level(tmp_path), words.split()
    exact = distribution(ours, words)
    answer, = ours.tag([words])
    best = max(exact, key=exact.get)
    assert answer.tags == convert(best, "IOBES", "IOB2")
    for i, confidence in enumerate(answer.confidences):
        assert confidence == pytest.approx(sum(p for path, p in exact.items() if path[i] == best[i]), rel=1e-4)
    assert [entity[:3] for entity in answer.entities] == spans(answer.tags)
    for kind, first, end, confidence in answer.entities:
        expected = sum(p for path, p in exact.items() if (kind, first, end) in spans(path))
        assert confidence == pytest.approx(expected, rel=1e-4)


def test_the_random_tagger_finds_entities(tmp_path):
    """Without entities the test above would show little."""
    ours = word_level(tmp_path)
    found = [entity for answer in ours.tag(["anna ben paris".split(), "paris never 😀 .".split()]) for entity in answer.entities]
    assert found and any(end - first > 1 for _, first, end, _ in found)


def test_plain_tags_of_a_crf(tmp_path):
    ours = word_level(tmp_path, ["ADP", "NOUN", "VERB"], "pos", "none")
    exact = distribution(ours, ["anna", "visited", "."])
    result, = ours.predict(["anna visited ."])
    assert tuple(result["tags"]) == max(exact, key=exact.get) and "entities" not in result
    for i, (tag, confidence) in enumerate(zip(result["tags"], result["confidences"], strict=True)):
        assert confidence == pytest.approx(sum(p for path, p in exact.items() if path[i] == tag), abs=1e-4)


def test_unconstrained_decoding_of_a_crf(tmp_path):
    ours = word_level(tmp_path, constrained=False)
    texts = ["anna ben paris visited", "ben . ben", "paris"]
    for text, answer in zip(texts, ours.tag([text.split() for text in texts]), strict=True):
        exact = distribution(ours, text.split())
        assert answer.tags == convert(max(exact, key=exact.get), "IOBES", "IOB2")
        assert all(0 <= entity[3] <= 1 for entity in answer.entities)


def test_unusual_input_to_a_word_level_model(tmp_path):
    """No words, words alone and beside each other, words never seen, emoji, a sentence of many windows."""
    ours = word_level(tmp_path)
    texts = ["", "anna ben paris", " ", "Ünïcödé 👩‍👩‍👧 words", "anna visited paris . " * 125, ""]
    results = ours.predict(texts)
    assert [len(r["tags"]) for r in results] == [0, 3, 0, 3 + 2, 500, 0] and [r["text"] for r in results] == texts
    for text, result in zip(texts, results, strict=True):
        alone, = ours.predict([text])
        assert alone["tags"] == result["tags"] and len(alone["entities"]) == len(result["entities"])
        for entity, other in zip(result["entities"], alone["entities"], strict=True):
            assert text[entity["start"]:entity["end"]] == entity["text"] and 0 < entity["confidence"] <= 1
            assert entity["confidence"] == pytest.approx(other["confidence"], abs=2e-4)
    assert ours.tag([]) == [] and ours.predict([]) == []


@pytest.mark.parametrize("make", [lambda folder: word_level(folder, on_long="error"),
                                  lambda folder: predictor(folder, "token", "ner", on_long="error"),
                                  lambda folder: predictor(folder, "mean", "classification", on_long="error")])
def test_the_error_for_a_long_input_names_it(tmp_path, make):
    ours = make(tmp_path)
    with pytest.raises(UserError, match=r"^input:2: the .* has \d+ .*; split it; a model that was trained with --set data.on"):
        ours.predict(["anna", "anna " * 50])
    with pytest.raises(UserError, match="^some.txt:7: the "):
        ours.predict(["anna", "anna " * 50], path="some.txt", lines=[3, 7])


def test_words_of_texts_and_words_alone(tmp_path):
    """predict_words returns what predict does for the joined words; a space, unlike a tab, may be part of a word."""
    ours = predictor(tmp_path, "token", "ner")
    texts = ["anna visited paris .", "", "ben"]
    assert ours.predict_words([text.split() for text in texts]) == ours.predict(texts)
    result, = ours.predict_words([["anna ben", "lives"]])
    assert result["text"] == "anna ben lives" and result["words"] == [[0, 8], [9, 14]] and len(result["tags"]) == 2
    for word in ("", " ", "anna\tben", "anna\nben"):
        with pytest.raises(ValueError, match="^tag: sentence at index 1: expected words, got .* at index 1; leave out blank"):
            ours.tag([["anna"], ["ben", word]])
    assert len(ours.tag([["\u00a0", "10\u00a0000"]])[0].tags) == 2
