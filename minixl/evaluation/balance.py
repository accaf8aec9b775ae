"""Whether discriminator and encoder keep balance, in words: what the discriminator's accuracy means and which setting to change."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NO_EFFECT, NEAR_CHANCE = 0.99, (0.45, 0.55)        # mean accuracy of the discriminator, 1/2 is chance


def balance(records: Sequence[Mapping[str, Any]]) -> str | None:
    """The verdict on the last tenth of a run, from the records of its log.jsonl; None for one without a discriminator."""
    told = [record for record in records if record["kind"] == "update" and record["loss"] == "discriminator"]
    if not told:
        return None
    last = [record["accuracy"] for record in told if record["step"] >= 0.9 * (told[-1]["step"] + 1)] or [told[-1]["accuracy"]]
    return verdict(sum(last) / len(last), "over the last tenth of the run")


def verdict(accuracy: float, when: str) -> str:
    """What a discriminator's mean accuracy means, and what to do where it is too good or worse than chance."""
    line = f"discriminator: accuracy {accuracy:.3f} {when}, 0.5 is chance"
    if accuracy >= NO_EFFECT:
        return f"{line}: the adversary has no effect; raise adversary.lr"
    if accuracy < NEAR_CHANCE[0]:
        return f"{line}: the two languages swap sides; lower adversary.lr or raise adversary.discriminator_lr"
    if accuracy <= NEAR_CHANCE[1]:
        return (f"{line}: near chance, it cannot tell the languages apart, which is the aim if it could before; whether a "
                "fresh one can, minixl evaluate --probe says")
    return line
