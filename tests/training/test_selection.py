"""Which parameters are kept and scored: selected on source dev, the last ones, and each target language's oracle."""
import numpy as np
import pytest
from safetensors.numpy import load_file

import minixl.training.loop
from tests.training.scripted_training import figures, training
from tests.whole_runs import inputs, run, settings, write_data


def trained(tmp_path, dev, **how):
    """metrics.json, and the step whose parameters are in the model at the end."""
    made = training(tmp_path, dev, total=len(next(iter(dev.values()))), **how)
    metrics = made.run()
    return metrics, int(made.model.store["weight"].value[0])


def test_source_dev_selects_and_target_dev_gives_the_oracle(tmp_path):
    """The test files' scores rise to the last step: whoever looked at them would take that one."""
    metrics, kept = trained(tmp_path, {"en": [0.1, 0.9, 0.5, 0.2, 0.3], "es": [0.1, 0.2, 0.9, 0.8, 0.3]})
    assert (metrics["selected_step"], kept, metrics["steps"]) == (2, 2, 5)
    assert figures(metrics["test"]) == {"en": 2, "es": 2} and figures(metrics["last"]) == {"en": 5, "es": 5}
    assert figures(metrics["oracle"]) == {"es": 3}


def test_every_target_language_has_an_oracle_of_its_own(tmp_path):
    """Where the last parameters are the selected ones, they are those in the model, not an oracle's."""
    dev = {"en": [0.1, 0.2, 0.3, 0.4], "es": [0.1, 0.2, 0.9, 0.3], "fr": [0.9, 0.2, 0.4, 0.3], "de": [0.9, 0.2, 0.4, 0.3]}
    metrics, kept = trained(tmp_path, dev, test=("en", "es", "fr"))            # German has no test file
    assert (metrics["selected_step"], kept) == (4, 4) and figures(metrics["oracle"]) == {"es": 3, "fr": 1}
    assert figures(metrics["test"]) == figures(metrics["last"]) == {"en": 4, "es": 4, "fr": 4}


def test_several_sources_select_by_their_mean(tmp_path):
    """Not by the first (1), the last (2), the better (1) or the worse (4) of the two."""
    metrics, kept = trained(tmp_path, {"en": [0.9, 0.2, 0.55, 0.51], "de": [0.0, 0.8, 0.5, 0.51]}, sources=("en", "de"))
    assert (metrics["selected_step"], kept) == (3, 3) and metrics["oracle"] == {}


def test_of_equally_good_parameters_the_first_are_kept(tmp_path):
    metrics, kept = trained(tmp_path, {"en": [0.5, 0.6, 0.6, 0.5]})
    assert (metrics["selected_step"], kept) == (2, 2)


@pytest.mark.parametrize("dev", [{"es": [0.9, 0.1, 0.1]}, {"es": [0.9, 0.1, 0.1], "fr": [0.1, 0.9, 0.1]}])
def test_target_dev_alone_selects_nothing(tmp_path, dev):
    metrics, kept = trained(tmp_path, dev)
    assert (metrics["selected_step"], kept) == (3, 3) and figures(metrics["oracle"]) == {"es": 1}
    assert figures(metrics["test"]) == figures(metrics["last"]) == {"en": 3, "es": 3}


def test_the_model_folder_holds_the_last_parameters_where_only_target_dev_is_given(tmp_path, monkeypatch):
    folder = write_data(tmp_path / "data")
    dev = iter([0.9, 0.1, 0.1])
    monkeypatch.setattr(minixl.evaluation.files.Evaluation, "one", lambda self, model, part, language, **how:
                        {"f1": next(dev) if part == "dev" else 0.5})
    run(folder, tmp_path / "run", settings(train__max_steps=3, train__eval_every=1, train__keep_checkpoint=True),
        inputs=inputs(folder, dev=[("es", folder / "es.txt")]))
    model = load_file(tmp_path / "run" / "model" / "model.safetensors")
    last, oracle = (load_file(tmp_path / "run" / "checkpoint" / f"{name}.safetensors") for name in ("state-3", "oracle-es-1"))
    for name in oracle:
        np.testing.assert_array_equal(model[name], last[f"parameter/{name}"], err_msg=name)
    assert not np.array_equal(model["classifier.weight"], oracle["classifier.weight"])
