"""Whole runs with the perturbation, of taggers, classifiers, a BiLSTM-CRF and AdvPicker: stopped and continued to the same bits."""
import pytest

from minixl.methods.perturbation import PERTURBED
from tests.whole_runs import advpicker, assert_same_run, records, run, settings, stopped, write_data

PERTURBATION = {"perturbation__kind": "adversarial", "perturbation__compare": True}
RUNS = {
    "tagger": settings(**PERTURBATION, train__accumulate=2),
    "classifier": settings(task="classification", **PERTURBATION),
    "language-adversarial": settings(method="language-adversarial", adversary__level="token", **PERTURBATION),
    "advpicker": advpicker(**PERTURBATION),
    "random": settings(perturbation__kind="random", perturbation__norm="table"),
}


@pytest.mark.parametrize("name", RUNS)
def test_stopped_and_continued_to_the_same_bits(tmp_path, name):
    data = write_data(tmp_path)
    run(data, tmp_path / "once", RUNS[name])
    stopped(data, tmp_path / "twice", RUNS[name], 2)
    run(data, tmp_path / "twice", RUNS[name], resume=True)
    assert_same_run(tmp_path / "once", tmp_path / "twice")
    losses = [record["loss"] for record in records(tmp_path / "once") if record["kind"] == "update"]
    assert losses.count(PERTURBED) == losses.count("task") > 0
    assert "task, perturbed" in (tmp_path / "once" / "report.html").read_text()
    assert "loss_perturbed_task" in (tmp_path / "once" / "curves.csv").read_text().splitlines()[0]
