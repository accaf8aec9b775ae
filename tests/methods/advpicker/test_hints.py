"""What a user reads about stages that learn nothing or diverge: which stage, and the settings that rule it."""
import pytest

from tests.whole_runs import Quiet, advpicker, run

SLOW = {"optim__lr": 1e-9, "optim__head_lr": 1e-9, "advpicker__teachers": 1}
OVERFLOW = pytest.mark.filterwarnings("ignore::RuntimeWarning")        # as the command line does
RATES = {"optim__warmup": 0.0, "advpicker__teachers": 1}


def test_stages_that_learn_nothing_name_their_own_settings(folder, tmp_path):
    reporter = Quiet()
    run(folder, tmp_path / "run", advpicker(**SLOW), reporter=reporter, seed=1)
    teacher, student = [text.partition("next to nothing: ")[2] for text in reporter.messages if "has learned next to" in text]
    assert teacher == "train the teachers longer (advpicker.epochs) or with a higher learning rate (optim.lr, optim.head_lr)"
    assert student == ("if its teachers have learned something, train longer (train.epochs) or with a higher learning rate "
                       "(optim.lr, optim.head_lr); otherwise train them longer (advpicker.epochs)")


@OVERFLOW
@pytest.mark.parametrize("rate", ["optim__lr", "adversary__lr"])
def test_a_teacher_that_diverges_is_named_with_its_rates(folder, tmp_path, rate):
    with pytest.raises(FloatingPointError, match="^teacher 1 of 1: step .* update: ") as error:
        run(folder, tmp_path / "run", advpicker(**RATES, **{rate: 1e30}))
    assert all(name in str(error.value) for name in ("optim.lr, optim.head_lr", "adversary.lr"))
    assert "train." not in str(error.value)


@OVERFLOW
def test_scores_that_diverge_at_an_evaluation_name_the_rates_of_all_updates(folder, tmp_path):
    with pytest.raises(FloatingPointError, match="^teacher 1 of 1: the model's scores became nan: the learning rate .optim.lr. was "
                                                 "too high, or that of another update .adversary.discriminator_lr, adversary.lr"):
        run(folder, tmp_path / "run", advpicker(**RATES, adversary__lr=1e30, train__eval_every=1))
