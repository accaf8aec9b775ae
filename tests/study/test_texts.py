"""A step on typed text: the same as training's, for every kind of model; what does not fit is one line."""
import numpy as np
import pytest

from minixl.building import load_model
from minixl.errors import UserError
from minixl.study.recorder import record, weight_named
from minixl.study.texts import of_text
from tests.whole_runs import Quiet, inputs, run, settings, write_data

SENTENCE = ("anna visited paris .", "B-PER O B-LOC O")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A tagger, one with a discriminator, and a BiLSTM-CRF."""
    out = tmp_path_factory.mktemp("runs")
    run(folder, out / "tagger", settings(train__max_steps=2))
    run(folder, out / "adversarial", settings(train__max_steps=1, method="language-adversarial", adversary__level="token"))
    files = inputs(folder)
    files.encoder = None
    run(folder, out / "crf", settings(train__max_steps=2, model__type="bilstm-crf"), inputs=files)
    return out


def recorded(*arguments, **options):
    """The recording of a step, and its objective."""
    with of_text(*arguments, reporter=Quiet(), **options) as start:
        assert (start.step, start.total_steps) == (0, 1)
        return record(start.objective, 0), start.objective


def test_a_trained_model(trained):
    for kind, layers in (("tagger", 3), ("crf", 0)):
        recording, objective = recorded(str(trained / kind / "model"), [SENTENCE])
        model, tokenizer, _ = load_model(trained / kind / "model")
        assert objective.model.labels == model.labels
        batch_loss = recording.updates[0].value
        assert np.isfinite(batch_loss) and batch_loss > 0 and recording.updates[0].lr > 0
        assert sum(call.op == "attention" for call in recording.calls("backward")) == layers
        ids = recording.calls()[0].arguments["ids"]
        pieces = [piece for word in tokenizer.pieces_batch([SENTENCE[0].split()])[0] for piece in word]
        assert kind == "crf" or ids.tolist() == [tokenizer.cls_id, *pieces, tokenizer.sep_id]


def test_a_trained_discriminator(trained):
    recording, _ = recorded(str(trained / "adversarial" / "model"), [SENTENCE], ["anna vive"], method="language-adversarial")
    assert [update.loss for update in recording.update_records()] == ["task", "discriminator", "generator"]
    with pytest.raises(UserError, match="needs a language discriminator of sentences, and this model has one of tokens"):
        recorded(str(trained / "adversarial" / "model"), [SENTENCE], ["anna vive"], method="language-adversarial",
                 changes=["adversary.level=sentence"])


def test_new_models_and_methods(folder):
    encoder = str(folder / "encoder")
    for model, options, losses in (
            (encoder, {}, ["task"]), ("bilstm-crf", {}, ["task"]),
            (encoder, {"method": "language-adversarial", "targets": ["anna vive"]}, ["task", "discriminator", "generator"]),
            (encoder, {"changes": ["linkage.level=token"], "targets": ["anna vive"]}, ["task", "average linkage"]),
            (encoder, {"method": "self-learning"}, ["task"]),
            (encoder, {"recipe": "language-adversarial-ner", "changes": ["model.freeze=bottom:1"], "targets": ["anna vive"]},
             ["task", "discriminator", "generator"])):
        recording, _ = recorded(model, [SENTENCE, ("ben lives", "B-PER O")], **options)
        assert [update.loss for update in recording.update_records()] == losses
        assert all(update.change_norm > 0 and not update.moved_others for update in recording.update_records())
    documents = [("anna visited paris", "travel"), ("ben lives in madrid", "home")]
    recording, objective = recorded(encoder, documents, changes=["task=classification"])
    assert objective.model.labels == ["home", "travel"] and "mean_pooling" in {call.op for call in recording.calls()}


@pytest.mark.parametrize(("texts", "options", "message"), [
    ([("anna visited", "O")], {}, "--labels: expected 2 labels, one for each word of 'anna visited', got 1"),
    ([("anna visited", "O X")], {}, "--labels: expected entity tags in IOB2 .O, B-PER, I-PER., got 'X'; for other tasks use"),
    ([("anna visited", "O O")], {}, "--labels: a new head needs at least two different labels, got only 'O'"),
    ([("anna visited " * 8, "B-PER O " * 8)], {"changes": ["data.max_length=16"]},
     "--text:1: the sentence has .* word pieces, but data.max_length is 16; shorten it, or raise the limit with --set"),
    ([("anna visited " * 50, "B-PER O " * 50)], {}, "--text:1: the sentence has .* but data.max_length is 64"),
    ([], {}, "--text is missing"),
    ([SENTENCE], {"method": "finetun"}, "--method: expected one of .*; did you mean finetune?"),
    ([SENTENCE], {"method": "language-adversarial"}, "--target is missing: language-adversarial compares --text with text in an"),
    ([SENTENCE], {"changes": ["linkage.level=token"]}, "--target is missing: linkage.level compares --text with text in another"),
    ([SENTENCE], {"method": "advpicker", "targets": ["x"]}, "--method advpicker: its last stage .* with --at-step N and"),
    ([SENTENCE], {"method": "zero-resource", "targets": ["x"]}, "--method zero-resource: its last stage learns from what"),
    ([SENTENCE], {"method": "finetune", "recipe": "finetune-ner"}, "--recipe and --method exclude each other"),
    ([(" ", "")], {}, "--text: expected words, got ' '"),
    ([SENTENCE], {"changes": ["optim.lx=1"]}, "--set: there is no setting 'optim.lx'; did you mean optim.lr?")])
def test_what_does_not_fit_is_one_line(folder, texts, options, message):
    with pytest.raises(UserError, match=message) as error:
        recorded(str(folder / "encoder"), texts, **options)
    assert "\n" not in str(error.value)


def test_a_family_that_does_not_fit_is_one_line(folder):
    for model, options, message in (
            (str(folder / "encoder"), {"changes": ["model.type=bilstm-crf"]}, "a bilstm-crf uses word vectors"),
            ("bilstm-crf", {"changes": ["task=classification"]}, "a bilstm-crf tags words, which does not fit task classification"),
            ("bilstm-crf", {"method": "language-adversarial", "targets": ["x"]}, "compares the hidden states of a transformer"),
            (str(folder / "nothing"), {}, "nothing: no such folder; did you mean")):
        with pytest.raises(UserError, match=message):
            recorded(model, [SENTENCE], **options)


def test_what_a_trained_model_lacks_is_one_line(trained):
    model = str(trained / "tagger" / "model")
    with pytest.raises(UserError, match=r"--labels: expected labels of the model \(O, .*\), got 'B-ORG'"):
        recorded(model, [("anna", "B-ORG")])
    with pytest.raises(UserError, match="needs a language discriminator of sentences, and this model has none"):
        recorded(model, [SENTENCE], method="language-adversarial", targets=["anna"])


def test_weights(folder):
    with of_text(str(folder / "encoder"), [SENTENCE], reporter=Quiet()) as start:
        store = start.objective.model.store
    assert weight_named(store, "classifier.weight[0, 3]") == ("classifier.weight", (0, 3))
    for text, message in (("classifier.weight", "expected a parameter and an index"),
                          ("clasifier.weight[0,1]", "did you mean classif"),
                          ("classifier.weight[0]", "expected an index inside it, got .0."), ("classifier.bias[99]", "got .99.")):
        with pytest.raises(UserError, match=f"--weight: .*{message}"):
            weight_named(store, text)
