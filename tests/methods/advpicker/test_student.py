"""Distillation: twenty steps beside PyTorch, parts of a batch, temperatures, and which row of the soft labels a word has."""
import numpy as np
import pytest
import torch

from minixl.backend import to_numpy
from minixl.data.batching import Stream, pack
from minixl.data.encoding import scored_starts
from minixl.methods import SCHEMA
from minixl.methods.advpicker.files import LABELS as KIND
from minixl.methods.advpicker.files import PseudoLabels, content_of_labels
from minixl.methods.advpicker.labels import independence, mask, merge, pseudo_tags, score_sentences, select
from minixl.methods.advpicker.student import Distillation, pseudo_examples, softened
from minixl.prediction import predict_labels
from minixl.run.once import write
from minixl.settings import Settings
from tests.methods.advpicker.stored import read_pseudo_labels
from tests.methods.advpicker.tiny_teachers import LABELS, encoded, teacher
from tests.models.hugging_face import padded, random_examples, tiny_pair

TEXTS = ["ab cd", "x", "abcd efgh ijkl mn opq", "y z"]
CHANGED = {"optim.lr": 2e-3, "optim.head_lr": 5e-3, "train.batch_size": 4}


def soft_examples(rng, count: int = 16):
    """Random sentences, soft labels for all of their words, and examples that point to them."""
    examples = random_examples(rng, rng.integers(3, 12, count))
    targets = rng.dirichlet(np.full(len(LABELS), 0.4), sum(len(e.rows) for e in examples))
    rows = iter(rng.permutation(len(targets)))                         # not in the order of the text: the numbers must be read
    for example in examples:
        example.labels[...] = [next(rows) for _ in example.rows]
    return examples, targets


def distill(model, examples, targets, *assignments: str, seed: int = 3, total: int = 20, **settings) -> Distillation:
    chosen = SCHEMA.settings(CHANGED | settings).override(assignments)
    stream = Stream(examples, chosen["train.batch_size"], seed, model.store.xp)
    return Distillation(model, {"source": stream}, chosen, seed, total, targets=targets)


def torch_optimizer(model, settings: Settings):
    """AdamW as the settings say, the head with its own learning rate, biases and LayerNorm without decay."""
    groups: dict = {}
    for name, parameter in model.named_parameters():
        lr = settings["optim.head_lr"] if name.startswith("classifier") else settings["optim.lr"]
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name else settings["optim.weight_decay"]
        groups.setdefault((lr, decay), []).append(parameter)
    return torch.optim.AdamW([{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()])


@pytest.mark.parametrize("temperature, accumulate", [(1.0, 1), (1.0, 3), (2.5, 1)])
def test_twenty_steps_beside_pytorch(rng, temperature, accumulate):
    """Same losses, norms and parameters: warm-up, decay of the learning rate, clipping and all."""
    theirs, ours = tiny_pair("token")
    examples, targets = soft_examples(rng)
    method = distill(ours, examples, targets, f"distill.temperature={temperature}", f"train.accumulate={accumulate}")
    batches, optimizer = Stream(examples, 4, 3), torch_optimizer(theirs, method.settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 2 if step < 2 else (20 - step) / 18)
    for step in range(20):
        batch = next(batches)
        update, = method.step(step)
        inputs = padded(batch)
        logits = theirs(inputs["input_ids"], inputs["attention_mask"]).logits[inputs["labels"] >= 0]
        rows = inputs["labels"][inputs["labels"] >= 0]
        soft = torch.softmax(torch.log(torch.tensor(targets)) / temperature, -1)[rows]
        loss = torch.nn.functional.mse_loss(torch.softmax(logits / temperature, -1), soft)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        assert update.value == pytest.approx(loss.item(), rel=1e-6), step
        assert update.gradient_norm == pytest.approx(norm.item(), rel=1e-6), step
        assert (update.step, update.loss, update.tokens) == (step, "task", batch.tokens)
    for name, parameter in theirs.named_parameters():
        if ".key.bias" in name:                                        # its true gradient is zero, what Adam scales up is rounding
            continue
        value = parameter.detach().numpy()
        np.testing.assert_allclose(ours.store[name].value, value, rtol=0, atol=1e-6 * np.abs(value).max(), err_msg=name)


def test_the_loss_falls(xp, rng, many_steps):
    """A student with random weights comes close to soft labels that a word's first piece decides."""
    _, ours = tiny_pair("token")
    examples = random_examples(rng, rng.integers(3, 12, 24), vocabulary=6)
    targets = rng.dirichlet(np.full(len(LABELS), 0.3), 6)
    for example in examples:
        example.labels[...] = example.input_ids[example.rows]
    student = type(ours)(ours.config, LABELS, "token", dtype=np.float32, xp=xp)
    for parameter in student.store:
        parameter.value[...] = xp.asarray(ours.store[parameter.name].value, np.float32)
    method = distill(student, examples, targets, total=100, **{"train.batch_size": 24, "optim.lr": 5e-3})
    losses = [method.step(step)[0].value for step in range(100)]
    assert losses[0] > 0.05 and losses[-1] < 0.2 * losses[0]
    assert method.subsets["task"] == student.store.names() and method.optimizers["task"].steps == 100


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_accumulation_changes_nothing(rng, parts):
    """Parts hold different numbers of words, one none at all; loss, norm and step are those of the whole batch."""
    examples, targets = soft_examples(rng, 6)
    lonely = random_examples(rng, (4,))[0]
    examples.append(type(lonely)(lonely.input_ids, np.zeros(0, int), np.zeros(0, int), 6, 0))
    results = []
    for accumulate in (1, parts):
        _, ours = tiny_pair("token")
        method = distill(ours, examples, targets, f"train.accumulate={accumulate}", **{"train.batch_size": 7, "optim.warmup": 0.0})
        results.append((method.step(0)[0], {p.name: p.value.copy() for p in ours.store}))
    (whole, expected), (update, found) = results
    assert update.value == pytest.approx(whole.value, rel=1e-12)
    assert update.gradient_norm == pytest.approx(whole.gradient_norm, rel=1e-9)
    for name, value in expected.items():
        if ".key.bias" not in name:
            np.testing.assert_allclose(found[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_frozen_parameters_and_discriminators_stay(rng):
    _, pair = tiny_pair("token")
    ours = type(pair)(pair.config, LABELS, "token", discriminator="token", discriminator_size=3, dtype=np.float64)
    ours.initialise(rng)
    ours.store.freeze(["bert.embeddings.*", "bert.encoder.layer.0.*"])
    before = {p.name: p.value.copy() for p in ours.store}
    method = distill(ours, *soft_examples(rng), **{"optim.warmup": 0.0})
    method.step(0)
    moved = {name for name, value in before.items() if (ours.store[name].value != value).any()}
    assert moved <= set(method.subsets["task"]) and "classifier.weight" in moved
    others = ("discriminator.", "bert.embeddings.", "bert.encoder.layer.0.")
    assert not any(name.startswith(others) for name in method.subsets["task"])


def test_a_step_can_be_replayed(rng):
    """Dropout is a function of seed and step; the stream continues from its state."""
    examples, targets = soft_examples(rng)
    values = []
    for resumed in (False, True, "with the masks of step 0"):
        _, ours = tiny_pair("token", hidden_dropout_prob=0.3)
        first = distill(ours, examples, targets)
        first.step(0)
        second = first
        if resumed:
            second = distill(ours, examples, targets)
            second.streams["source"].load_state_dict(first.streams["source"].state_dict())
            second.optimizers["task"].load_state_dict(first.optimizers["task"].state_dict())
        begin = 0 if isinstance(resumed, str) else 1
        values.append([second.step(begin + step)[0].value for step in range(3)])
    assert values[0] == values[1] and len(set(values[0])) == 3 and values[2][0] != values[0][0]


def test_targets_of_another_label_set(rng):
    _, ours = tiny_pair("token")
    examples, targets = soft_examples(rng)
    with pytest.raises(ValueError, match=r"^targets: expected \(words, 5\), one column a label, got \(\d+, 4\)$"):
        distill(ours, examples, targets[:, :4])


def test_softened(xp, rng):
    logits = rng.normal(size=(30, 5)) * 8
    probabilities = xp.asarray(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    assert softened(probabilities, 1.0) is probabilities
    for temperature in (0.5, 3.0):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
        np.testing.assert_allclose(to_numpy(softened(probabilities, temperature)), expected, rtol=1e-9)
    certain = to_numpy(softened(xp.asarray([[1.0, 0.0, 0.0]]), 2.0))
    np.testing.assert_allclose(certain, [[1, 0, 0]], atol=1e-9)


# Which row of the soft labels a word has

@pytest.mark.parametrize("max_length", [40, 10])
def test_every_word_of_the_selected_sentences_once(max_length):
    data = encoded(TEXTS, max_length)
    assert (len(data.examples) > 4) == (max_length == 10)
    words = [word for text in TEXTS for word in text.split()]
    starts, selected = scored_starts(data), np.array([True, False, True, False])
    np.testing.assert_array_equal(starts, np.cumsum([0, *(len(text.split()) for text in TEXTS)]))
    examples = pseudo_examples(data, starts, selected)
    assert {e.source for e in examples} == {0, 2}
    batch = pack(examples)
    for row, label in zip(batch.rows, batch.labels, strict=True):
        assert chr(batch.input_ids[row]) == words[label][0], "a word's first piece stands beside its own soft label"
    assert sorted(batch.labels.tolist()) == [0, 1, *range(3, 8)]
    assert all((e.labels == -100).all() for e in data.examples), "the encoded text itself is left alone"


def test_from_teachers_to_a_student(rng, tmp_path):
    """Stages B to E in a row, by way of the disk: the student tags as its teachers do, in windows and sentences it never saw."""
    texts = [" ".join("".join(rng.choice(list("abc"), rng.integers(1, 4))) for _ in range(n)) for n in rng.integers(2, 9, 40)]
    data = encoded(texts, 14)
    teachers = [teacher(seed, dropout=0.0) for seed in (1, 2)]
    merged = merge([score_sentences(made, data) for made in teachers])
    selected = mask(select(independence(merged.p_bar), 0.8), 40)
    write(tmp_path / "x.safetensors", KIND, {}, content_of_labels(PseudoLabels(merged, selected, LABELS, ["1", "2"])))
    stored = read_pseudo_labels(tmp_path / "x.safetensors", {})
    student = teacher(3, discriminator="none", dropout=0.0)
    examples = pseudo_examples(data, stored.merged.starts, stored.selected)
    assert len(examples) > stored.selected.sum() == 32
    method = distill(student, examples, stored.merged.probabilities, total=150, **{"optim.lr": 1e-2, "train.batch_size": 16})
    agrees = lambda chosen: np.mean([a == b for i in np.flatnonzero(chosen) for a, b in
                                     zip(predict_labels(student, data, "IOB2")[i], expected[i], strict=True)])
    expected = pseudo_tags(merged, LABELS, "IOB2")
    before = agrees(~selected)
    for step in range(150):
        method.step(step)
    assert agrees(selected) > 0.9 and agrees(~selected) > before + 0.2


def test_soft_labels_of_another_text():
    data = encoded(TEXTS, 40)
    starts = scored_starts(data)
    for wrong, selected in [(starts[:-1], np.ones(3, bool)), (starts + np.array([0, 0, 1, 1, 1]), np.ones(4, bool)),
                            (starts, np.ones(3, bool))]:
        with pytest.raises(ValueError, match="^pseudo_examples: expected soft labels of 4 sentences and 10 words, got "):
            pseudo_examples(data, wrong, selected)
