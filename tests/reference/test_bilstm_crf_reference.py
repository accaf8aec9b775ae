"""The PyTorch reference of the BiLSTM-CRF is the model that minixl has, and it learns."""
import numpy as np
import pytest
import torch

from minixl.bench.training.torch_bilstm_crf import BilstmCrfModule, pad
from minixl.bench.training.work_bilstm_crf import words_of
from minixl.data.batching import pack
from minixl.data.corpus import collect_labels, encode_corpus, read_corpus
from minixl.data.lexicon import Lexicon
from minixl.models.bilstm_crf import BilstmCrf
from minixl.models.bilstm_crf_config import BilstmCrfConfig
from tests.reference.bilstm_crf import initialise, run
from tests.tiny import write_ner


@pytest.fixture
def examples(tmp_path):
    corpus = read_corpus("ner", "en", write_ner(tmp_path / "en.txt", "en"))
    labels = collect_labels("ner", [corpus], "IOBES")
    lexicon = Lexicon.from_sentences(sentence.words for sentence in corpus.sentences())
    return encode_corpus(corpus, lexicon, labels, max_length=50, on_long="error", scheme="IOBES").examples, labels, lexicon


def test_equal_parameters_give_equal_losses_and_gradients(examples, rng):
    examples, labels, lexicon = examples
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, word_size=7, char_size=5, char_hidden=4,
                             word_hidden=6, dense_size=8, two_biases=True, start_end=True)
    ours = BilstmCrf(config, labels, lexicon)
    theirs = BilstmCrfModule(config, len(labels), lexicon.singletons).eval()
    for parameter in ours.store:
        parameter.value[...] = rng.normal(0, 0.5, parameter.value.shape)
    theirs.load_state_dict({parameter.name: torch.from_numpy(parameter.value) for parameter in ours.store})

    loss, cache = ours.loss_forward(pack(examples))
    ours.loss_backward(1.0, cache)
    expected = theirs(pad(examples, words_of(lexicon, examples)))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in theirs.named_parameters():
        grad = ours.store[name].grad
        if not isinstance(grad, np.ndarray):                           # row-sparse
            dense = np.zeros(ours.store[name].value.shape, np.float32)
            dense[grad.rows] = grad.values
            grad = dense
        np.testing.assert_allclose(grad, parameter.grad, rtol=1e-3, atol=1e-5, err_msg=name)


def test_padding_makes_no_difference(examples):
    examples, labels, lexicon = examples
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size)
    model = BilstmCrfModule(config, len(labels), lexicon.singletons).eval()
    words = words_of(lexicon, examples)
    with torch.inference_mode():
        alone = [float(model(pad([example], words))) for example in examples]
        assert float(model(pad(examples, words))) == pytest.approx(np.mean(alone), rel=1e-5)


def test_parameters_begin_as_minixls_do(examples):
    _, labels, lexicon = examples
    config = BilstmCrfConfig(lexicon.vocabulary_size, lexicon.alphabet_size, two_biases=True, start_end=True)
    ours, theirs = BilstmCrf(config, labels, lexicon), BilstmCrfModule(config, len(labels), lexicon.singletons)
    ours.initialise(np.random.default_rng(3))
    initialise(theirs, np.random.default_rng(3))
    for parameter in ours.store:
        spread = theirs.get_parameter(parameter.name).detach().numpy().std()
        assert parameter.value.std() == pytest.approx(spread, rel=0.3), parameter.name


@pytest.mark.parametrize("optim", ["sgd", "adam"])
def test_it_learns(tmp_path, optim):
    train = write_ner(tmp_path / "train.txt", "en", repeat=8)
    scores = run("ner", 1, 6 if optim == "adam" else 12, (0, 6), (train, train, train), optim=optim, batch_size=4,
                 lr=0.01 if optim == "adam" else None)
    assert scores["dev"] == scores["test"] > 0.8 and 0 < scores["epoch"] and 0 <= scores["last"] <= 1


def test_parts_of_speech_are_scored_by_accuracy(tmp_path):
    file = tmp_path / "pos.txt"
    file.write_text("a\tDET\nhat\tNOUN\n\nthe\tDET\ncat\tNOUN\nsat\tVERB\n\n" * 8, encoding="utf-8")
    scores = run("pos", 1, 6, (0, 2), (file, file, file), optim="adam", batch_size=4, lr=0.01)
    assert scores["dev"] == 1.0
