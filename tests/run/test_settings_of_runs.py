"""Settings and seeds reach what they are meant for: the order of the data, limits, the length of a run, what is kept, the model."""
import json
from statistics import stdev

import numpy as np
import pytest

import minixl.building.transformer
from minixl.data.batching import split
from minixl.methods import SCHEMA, resolve, train
from minixl.methods.advpicker.teachers import teacher_settings
from minixl.run.seeds import summarise
from minixl.run.stage import make_streams
from minixl.training.config import read_config
from minixl.training.optimizers import make_optimizer
from tests.methods.advpicker.tiny_teachers import teacher
from tests.whole_runs import Quiet, advpicker, inputs, records, run, settings, texts, write_data

STREAMS = {"source": "labelled", "source/discriminator": "source", "target/discriminator": "target", "again": "target"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def latest(out):
    return json.loads((out / "checkpoint" / "latest.json").read_text(encoding="utf-8"))


def test_every_stream_is_shuffled_by_the_seed_and_by_its_name(tmp_path):
    examples = {text: [object()] * 30 for text in STREAMS.values()}

    def orders(seed: int) -> list[list[int]]:
        made = make_streams(STREAMS, examples, teacher(), settings(), seed, tmp_path)
        assert list(made) == list(STREAMS) and all(stream.batch_size == 4 for stream in made.values())
        return [stream.order.tolist() for stream in made.values()]

    assert orders(1) == orders(1)
    every = [*orders(1), *orders(2), *orders(3)]
    assert all(one != other for i, one in enumerate(every) for other in every[:i])


def test_the_seed_of_a_run_is_that_of_its_streams(folder, tmp_path):
    chosen = settings(adversary__level="token", train__max_steps=1, train__keep_checkpoint=True)
    orders = []
    for seed in (0, 1, 2):
        out = tmp_path / str(seed)
        run(folder, out, chosen, seed=seed)
        orders.append({name: stream["order"] for name, stream in latest(out)["streams"].items()})
        assert read_config(out, SCHEMA)[2] == seed and json.loads((out / "metrics.json").read_text())["seed"] == seed
    assert len(orders[0]) == 5
    for name in orders[0]:
        assert orders[0][name] != orders[1][name] != orders[2][name] != orders[0][name], name


@pytest.mark.parametrize("limit", ["data.limit", "data.test_limit", "data.unlabelled_limit"])
def test_limits(folder, limit):
    """Each limit applies to its own files, and to the messages about them."""
    counts = {"source en": 12, "dev en": 12, "test es": 6, "unlabelled es": 4}
    names = {"data.limit": ["source en"], "data.test_limit": ["dev en", "test es"], "data.unlabelled_limit": ["unlabelled es"]}
    en, es, raw = ("en", folder / "en.txt"), ("es", folder / "es.txt"), ("es", folder / "es.raw")
    files = inputs(folder, dev=[en], test=[es], unlabelled=[raw])
    examples, prepared = texts(settings(adversary__level="token", **{limit.replace(".", "__"): 2}), files)
    expected = counts | dict.fromkeys(names[limit], 2)
    scored = prepared.evaluation.files
    assert expected == {"source en": len(examples["labelled"]), "dev en": scored["dev"]["en"][1].sources,
                        "test es": len(scored["test"]["es"][0].inputs), "unlabelled es": len(examples["target"])}
    said = {message.split(":")[0]: message for message in prepared.messages}
    for name, count in expected.items():
        assert f"{name}: {count} " in said[name]


@pytest.mark.parametrize(("changes", "steps", "evaluations"), [
    ({"train__epochs": 1, "train__max_steps": 100, "train__eval_every": 2}, 3, [2, 3]),
    ({"train__epochs": 2, "train__max_steps": 0, "train__eval_every": 0}, 6, [3, 6]),
    ({"train__epochs": 2, "train__max_steps": 4, "train__eval_every": 0}, 4, [3, 4]),
    ({"train__epochs": 0, "train__max_steps": 5, "train__eval_every": 0}, 5, [3, 5])])
def test_how_long_a_run_is_and_when_it_is_evaluated(folder, tmp_path, changes, steps, evaluations):
    """Three batches an epoch."""
    metrics = run(folder, tmp_path / "run", settings(**changes), inputs=inputs(folder, test=[]))
    assert metrics["steps"] == steps == len([r for r in records(tmp_path / "run") if r["kind"] == "update"])
    assert [r["step"] for r in records(tmp_path / "run") if r["kind"] == "evaluation"] == evaluations


@pytest.mark.parametrize(("made", "steps"), [(teacher_settings, 0), (lambda asked: resolve(asked)[1], 3)],
                         ids=["teacher", "ft and tladv"])
def test_the_limit_of_the_students_steps_is_that_of_a_run_of_one_stage_but_not_of_the_teachers(made, steps):
    for variant in ("ft", "tladv"):
        found = made(advpicker(advpicker__variant=variant, advpicker__epochs=7, train__max_steps=3, train__epochs=2))
        assert (found["train.max_steps"], found["train.epochs"]) == (steps, 7)
    assert resolve(advpicker(train__max_steps=3))[1]["train.max_steps"] == 3


def test_what_minixl_json_says_of_the_run(folder, tmp_path):
    """No value is a default; latest.json counts the tokens in the log."""
    files = inputs(folder, source=[("en", folder / "en.txt"), ("es", folder / "es.txt")])
    chosen = settings(data__on_long="truncate", decode__constrained=False, data__max_length=16, train__max_steps=2,
                      train__keep_checkpoint=True)
    run(folder, tmp_path / "run", chosen, inputs=files, seed=7)
    info = json.loads((tmp_path / "run" / "model" / "minixl.json").read_text(encoding="utf-8"))
    said = {name: info[name] for name in ("on_long", "constrained", "sources", "max_length", "method", "seed", "task", "pooling")}
    assert said == {"on_long": "truncate", "constrained": False, "sources": ["en", "es"], "max_length": 16, "method": "finetune",
                    "seed": 7, "task": "ner", "pooling": "token"}
    tokens = [record["tokens"] for record in records(tmp_path / "run") if record["kind"] == "update"]
    assert latest(tmp_path / "run")["run"]["tokens"] == sum(tokens) > max(tokens) > 0


def test_kept_states_have_the_memory_that_is_asked_for_and_reach_every_part(folder, tmp_path, monkeypatch):
    asked, real = [], minixl.building.transformer.FrozenBottom

    def spy(bert, examples, *, memory_bytes, **how):
        asked.append(memory_bytes)
        return real(bert, examples, memory_bytes=memory_bytes, **how)

    monkeypatch.setattr(minixl.building.transformer, "FrozenBottom", spy)
    frozen = settings(model__freeze=["bottom:1"], model__keep_frozen=True, model__keep_frozen_mb=3)
    examples, prepared = texts(frozen, inputs(folder))
    stream = make_streams({"source": "labelled"}, examples, prepared.model, frozen, 1, tmp_path)["source"]
    assert asked == [3 << 20]
    batch = next(stream)
    states = prepared.model.bert.frozen_bottom(batch.input_ids, batch.position_ids, batch.starts)
    np.testing.assert_allclose(batch.bottom, states, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([part.bottom for part in split(batch, 3)]), batch.bottom)


@pytest.mark.parametrize(("warmup", "updates"), [(0.14, 1), (0.15, 2), (0.16, 2), (0.04, 0)])
def test_the_warm_up_is_the_nearest_whole_number_of_updates(warmup, updates):
    """Of 10 updates: the learning rate rises from 0 in these and reaches its value in the next."""
    made = teacher()
    chosen = SCHEMA.settings({"optim.warmup": warmup, "optim.schedule": "constant"})
    schedule = make_optimizer(made, made.store.names(), chosen, 10, 5).schedule
    assert [schedule(step) for step in range(4)] == [min(1, step / updates) if updates else 1 for step in range(4)]


def test_summarise():
    """Three runs whose mean is not their median and whose best is not the last."""
    values = [1.0, 6.0, 2.0]
    assert summarise([{"f1": value} for value in values])["f1"] == {"mean": 3.0, "sd": pytest.approx(stdev(values)), "max": 6.0,
                                                                    "runs": values}


def test_every_seed_has_a_folder_and_no_other_is_there(folder, tmp_path):
    train(settings(train__max_steps=1), inputs(folder), tmp_path / "runs", seeds=[1, 2], reporter=Quiet())
    assert sorted(path.name for path in tmp_path.glob("runs/seed-*")) == ["seed-1", "seed-2"]
    assert [read_config(tmp_path / "runs" / f"seed-{seed}", SCHEMA)[2] for seed in (1, 2)] == [1, 2]
