"""The finding of a batch that is not finite: headline, place, parameters, numbers, and a remedy for the array."""

import math

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.nonfinite import find_non_finite
from rnncallbacks.detectors.nonfinite_finding import non_finite_finding

T, B, H, V = 7, 4, 5, 6
NAN, INF = math.nan, math.inf


def finding_of(
    *, loss=1.0, observe=("hidden_states", "logits", "hidden_gradients"), params=True, kept=True, before=True, **bad
):
    """The finding of batch 3 with NaN at the flat positions that are given for arrays by name."""
    arrays = {
        "inputs": np.ones((T, B, 3)),
        "targets": np.ones((T, B, 2)),
        "entering_state": np.ones((B, H)),
        "hidden_states": np.ones((T, B, H)),
        "logits": np.ones((T, B, V)),
        "hidden_gradients": np.ones((T, B, H)),
        "parameters": np.ones((H, H)),
        "gradients": np.ones((H, H)),
    }
    for name, positions in bad.items():
        arrays[name].flat[positions] = NAN
    states = np.concatenate([arrays["entering_state"][None], arrays["hidden_states"]])
    observed = {"hidden_states": states, "logits": arrays["logits"], "hidden_gradients": arrays["hidden_gradients"]}
    observed = {name: array for name, array in observed.items() if name in observe}
    batch = Batch((arrays["inputs"], arrays["targets"]), "train", 3, loss=loss, batch_size=B, observed=observed)
    origin = find_non_finite(
        batch,
        {"b": np.zeros(H), "w": arrays["parameters"]} if params else None,
        {"b": np.zeros(H), "w": arrays["gradients"]},
    )
    return non_finite_finding(batch, origin, before_update=before, kept=kept)


CASES = [
    (
        {"loss": NAN, "hidden_states": [30, 31]},
        "the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the hidden states, "
        "time step 2 of 7, row 3 of 4 (2 of 20 entries), while the parameters are finite and unchanged",
        "lower the learning rate or clip gradients (gradient_clipping): the hidden states overflow at time step 2 of 7",
    ),
    (
        {"loss": NAN, "logits": [130]},
        "the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the logits, "
        "time step 6 of 7, row 2 of 4 (1 of 24 entries), while the parameters are finite and unchanged",
        "lower the learning rate or clip gradients (gradient_clipping): the logits overflow at time step 6 of 7",
    ),
    (
        {"loss": NAN, "inputs": [0, 1]},
        "the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the inputs, "
        "time step 1 of 7, row 1 of 4 (2 of 12 entries), while the parameters are finite and unchanged",
        "remove or replace the 2 non-finite values in the inputs, of batch 3 of train",
    ),
    (
        {"loss": NAN, "targets": [0]},
        "the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the targets, "
        "time step 1 of 7, row 1 of 4 (1 of 8 entries), while the parameters are finite and unchanged",
        "remove or replace the non-finite value in the targets, of batch 3 of train",
    ),
    (
        {"loss": NAN, "entering_state": [0], "parameters": [1, 2]},
        "the loss (nan) of batch 3 of train is not finite; the first non-finite value is in the state that entered "
        "it, row 1 of 4 (1 of 20 entries); the parameter 'w' was not finite before this batch, too "
        "(2 of 25 entries)",
        "reset the hidden state (hidden_state_reset), and check the batch that computed it",
    ),
    (
        {"loss": NAN, "parameters": [1, 2]},
        "the loss (nan) of batch 3 of train is not finite; the parameter 'w' was not finite before this batch "
        "(2 of 25 entries)",
        "go back to finite values of the parameter 'w'; then lower the learning rate or clip gradients "
        "(gradient_clipping), as the update before made them",
    ),
    (
        {"loss": NAN},
        "the loss (nan) of batch 3 of train is not finite; the logits are finite, so it arose in the loss function; "
        "the parameters are finite and unchanged",
        "compute log-softmax from logits, and lower the learning rate",
    ),
    (
        {"hidden_gradients": [40], "gradients": [0]},
        "the gradient 'w' of batch 3 of train is not finite; going back through time, the first non-finite value "
        "is in the gradients of the hidden states, time step 3 of 7, row 1 of 4 (1 of 20 entries), while the "
        "parameters are finite and unchanged",
        "clip gradients (gradient_clipping), or use shorter sequences: the gradients of the hidden states overflow "
        "at time step 3 of 7",
    ),
    (
        {"gradients": [0, 1, 2]},
        "the gradient 'w' of batch 3 of train is not finite (3 of 25 entries); the loss (1) is finite, so it arose "
        "in the backward pass; the parameters are finite and unchanged",
        "check the backward pass that computes the gradient 'w' for divisions by zero and overflows",
    ),
]


@pytest.mark.parametrize(("case", "message", "remedy"), CASES)
def test_messages_and_remedies(case, message, remedy):
    finding = finding_of(**case)
    assert (finding.code, finding.message, finding.remedy) == ("RNN403", message, remedy)
    assert len(message.partition(";")[0]) <= 80
    assert finding_of(**case, kept=False).message == message.replace(" and unchanged", "")
    later = message.replace("was not finite before this batch", "is not finite")
    assert finding_of(**case, before=False).message == later


@pytest.mark.parametrize(
    ("observe", "words"),
    [
        (["hidden_states"], "; the hidden states are finite, so it arose after them; the parameters are finite"),
        ([], "; run.observe(hidden_states=..., logits=...) would show where it arose; the parameters are finite"),
    ],
)
def test_what_was_not_observed_is_not_called_finite(observe, words):
    finding = finding_of(loss=INF, observe=observe, kept=False)
    assert finding.message == f"the loss (inf) of batch 3 of train is not finite{words}"
    assert finding.remedy is None
    unknown = finding_of(loss=INF, observe=observe, params=False)
    assert "parameters" not in unknown.message
    assert "non_finite_parameters" not in unknown.evidence


def test_evidence_has_the_numbers_of_the_message():
    bad = {"loss": NAN, "hidden_states": [4 * B * H + H + 2]}
    assert finding_of(**bad, params=False).evidence == {
        "loss": pytest.approx(NAN, nan_ok=True),
        "batch": 3,
        "array": "hidden_states",
        "non_finite": 1,
        "entries": B * H,
        "time_step": 5,
        "time_steps": T,
        "row": 2,
    }
    assert finding_of(**bad, parameters=[0, 1]).evidence == {
        "loss": pytest.approx(NAN, nan_ok=True),
        "batch": 3,
        "array": "parameters.w",
        "non_finite": 2,
        "entries": H * H,
        "non_finite_parameters": 2,
    }
