"""The threshold of a prediction, and the best classes of a classifier."""
import pytest

from minixl.errors import UserError
from tests.test_prediction import predictor


@pytest.mark.parametrize(("task", "untagged"), [("ner", "O"), ("pos", "_")])
def test_a_threshold_leaves_uncertain_tags_out(tmp_path, task, untagged):
    ours = predictor(tmp_path, "token", task)
    texts = ["anna visited paris .", "ben lives in madrid.", "the the anna ben paris " * 3]
    all_of, none_of = ours.predict(texts), ours.predict(texts, threshold=1)
    assert {tag for result in none_of for tag in result["tags"]} == {untagged}
    confidences = sorted(e["confidence"] for result in all_of for e in result["entities"]) if task == "ner" else \
        sorted(p for result in all_of for p in result["confidences"])
    middle = confidences[len(confidences) // 2] + 1e-4
    assert confidences[0] < middle < confidences[-1]
    for before, after in zip(all_of, ours.predict(texts, threshold=middle), strict=True):
        assert after["confidences"] == before["confidences"] and after["words"] == before["words"]
        if task == "pos":
            expected = [tag if p > middle else "_" for tag, p in zip(before["tags"], before["confidences"], strict=True)]
        else:
            assert after["entities"] == [entity for entity in before["entities"] if entity["confidence"] > middle]
            kept = {i for entity in after["entities"] for i in range(entity["first_word"], entity["last_word"] + 1)}
            expected = [tag if i in kept else "O" for i, tag in enumerate(before["tags"])]
        assert after["tags"] == expected


def test_a_threshold_and_the_best_classes_of_a_classifier(tmp_path):
    ours = predictor(tmp_path, "mean", "classification")
    before, = ours.predict(["anna visited paris ."])
    assert ours.predict([before["text"]], threshold=before["confidence"] - 1e-3) == [before]
    assert ours.predict([before["text"]], threshold=before["confidence"] + 1e-3) == [{**before, "label": None}]
    best, = ours.predict([before["text"]], top=2)
    ordered = sorted(before["probabilities"].items(), key=lambda item: -item[1])
    assert list(best["probabilities"].items()) == ordered[:2] and best["label"] == ordered[0][0]
    assert dict(ordered) == ours.predict([before["text"]], top=99)[0]["probabilities"]
    for top in (0, -1, 1.5, "2"):
        with pytest.raises(UserError, match=f"^top: expected a number of classes from 1, got {top!r}$"):
            ours.predict(["anna"], top=top)


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan"), "0.5", None])
def test_a_threshold_that_is_no_probability(tmp_path, threshold):
    ours = predictor(tmp_path, "token", "ner")
    for call in (lambda: ours.predict(["anna"], threshold=threshold), lambda: ours.tag([["anna"]], threshold=threshold)):
        with pytest.raises(UserError, match=f"^threshold: expected a number from 0 to 1, got {threshold!r}$"):
            call()
    with pytest.raises(UserError, match="^top: expected a classifier, found a ner model$"):
        ours.predict(["anna"], top=1)
