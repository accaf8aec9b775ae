"""How often a training step and a prediction batch wait for the device, and how many copies they send to it.

A wait costs a step the time in which the device has nothing to do.  Whoever adds one sees it
here, and none may depend on the number of layers, parameters or sentences.
"""
from dataclasses import replace

import pytest

from minixl.backend import to_numpy
from minixl.data.encoding import encode_sentences
from minixl.data.examples import Sentence
from minixl.methods import train
from minixl.prediction import Predictor, best_paths, word_scores
from minixl.training.objective import Composition, Objective
from tests.conftest import HAS_DEVICE
from tests.device.crossings import TO_DEVICE, TO_HOST, by_line, crossings
from tests.device.runs import RUNS, inputs_of, settings_of, write_run_data
from tests.device.stand_in import stand_in
from tests.tiny import write_encoder
from tests.whole_runs import Quiet

pytestmark = pytest.mark.skipif(HAS_DEVICE, reason="the stand-in would stand beside a real device")

# (waits, copies to the device) of one step, with dropout
BUDGET = {
    "finetune": (6, 2),                            # loss, norm, rows of the word table; which rows each embedding has looked up
    "finetune, documents": (7, 6),
    "finetune, frozen layers kept, accumulated": (4, 6),
    "perturbation": (11, 6),                       # two passes
    "linkage": (12, 5),                            # two updates
    "language-adversarial, sentences": (16, 18),   # three updates
    "language-adversarial, tokens": (14, 8),
    "advpicker": (6, 1),
    "self-learning": (6, 2),
    "bilstm-crf": (8, 18),
    "bilstm-crf, all parts": (15, 39),             # in two parts
    "zero-resource": (18, 63),                     # three updates
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_run_data(tmp_path_factory.mktemp("data"))


def last_step(data, out, chosen, monkeypatch):
    """What crosses in the last step of the last stage; an earlier one may prepare something once."""
    steps = []

    def counted(kind):
        original = kind.step

        def step(self, number):
            with crossings() as seen:
                updates = original(self, number)
            steps.append((seen, updates))
            return updates
        monkeypatch.setattr(kind, "step", step)
    kinds = {kind for base in (Objective, Composition) for kind in [base, *all_subclasses(base)] if "step" in vars(kind)}
    for kind in kinds - {Objective}:
        counted(kind)
    with stand_in() as cp:
        few = settings_of(chosen, model__dropout=0.1, train__max_steps=2 if chosen["train.max_steps"] else 0)
        train(few, replace(inputs_of(data, chosen), dev=[], test=[]), out, seed=3, reporter=Quiet(), xp=cp)
    return steps[-1][0]


def all_subclasses(kind):
    return [found for sub in kind.__subclasses__() for found in (sub, *all_subclasses(sub))]


@pytest.mark.parametrize("name", BUDGET)
def test_a_training_step(data, tmp_path, monkeypatch, name):
    seen = last_step(data, tmp_path / "run", RUNS[name], monkeypatch)
    waits, copies = (by_line(seen, kind) for kind in (TO_HOST, TO_DEVICE))
    most = BUDGET[name]
    assert waits.total() <= most[0] and copies.total() <= most[1], f"at most {most}: waits {dict(waits)}, copies {dict(copies)}"


@pytest.mark.parametrize("name", ["finetune", "language-adversarial, tokens"])
def test_no_more_with_more_layers_and_sentences(data, tmp_path, monkeypatch, name):
    """Twice the layers and twice the batch."""
    write_encoder(tmp_path / "encoder", layers=6)
    for path in data.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    chosen = {**RUNS[name], "train.batch_size": 8}
    assert len(last_step(tmp_path, tmp_path / "run", chosen, monkeypatch)) <= sum(BUDGET[name])


@pytest.fixture(scope="module", params=["finetune", "bilstm-crf"])
def trained(request, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    chosen = {**RUNS[request.param], "train.max_steps": 1}
    train(settings_of(chosen), inputs_of(data, chosen), out, seed=1, reporter=Quiet())
    return request.param, out / "model"


# waits and copies of a prediction: for every batch, and for all of them together
A_BATCH = {"finetune": (1, 2), "bilstm-crf": (1, 10)}
ONCE = {"finetune": (2, 5), "bilstm-crf": (2, 10)}


def test_a_prediction(trained):
    """The class numbers are fetched once; every batch waits for one number, whether a score is NaN."""
    name, folder = trained
    sentences = ["anna visited paris .".split(), "ben lives in madrid .".split(), "paris .".split()] * 4
    counts = []
    with stand_in():
        predictor = Predictor.load(folder, device="cuda")
        examples = [Sentence(tuple(words), None, 1) for words in sentences]
        encoded = encode_sentences(examples, predictor.tokenizer, None, max_length=32)
        for tokens in (10 ** 6, 1):                                    # one batch, and a batch for every sentence
            with crossings() as seen:
                scores = word_scores(predictor.model, encoded, tokens=tokens)
                to_numpy(best_paths(scores, predictor.model.labels, predictor.info.scheme, True, predictor.model.decoder()))
            counts.append((by_line(seen, TO_HOST), by_line(seen, TO_DEVICE)))
    (one_waits, one_copies), (all_waits, all_copies) = counts
    per_batch = [(many.total() - one.total()) / (len(sentences) - 1)
                 for one, many in ((one_waits, all_waits), (one_copies, all_copies))]
    assert per_batch[0] <= A_BATCH[name][0] and per_batch[1] <= A_BATCH[name][1], (all_waits, all_copies)
    assert one_waits.total() <= sum(pair[0] for pair in (A_BATCH[name], ONCE[name])), one_waits
    assert one_copies.total() <= sum(pair[1] for pair in (A_BATCH[name], ONCE[name])), one_copies
