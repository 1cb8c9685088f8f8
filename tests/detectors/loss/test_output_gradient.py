"""The gradient of the output bias follows the targets of an untrained network by a factor that identifies the loss."""

import numpy as np
import pytest

from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.loss.output_gradient import OUTPUT_GRADIENT, OutputGradientDetector

T, B, V = 10, 8, 5


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def nll(z, hot):
    p = softmax(z)
    return -np.log((p * hot).sum(axis=-1)), p - hot


def twice(z, hot):
    p = softmax(z)
    loss, d = nll(p, hot)
    return loss, p * (d - (d * p).sum(axis=-1, keepdims=True))


def brier(z, hot):
    p = softmax(z)
    d = 2 * (p - hot)
    return ((p - hot) ** 2).sum(axis=-1), p * (d - (d * p).sum(axis=-1, keepdims=True))


def squares(z, y):
    return (z - y) ** 2, 2 * (z - y)


def play(loss_of, factor=1.0, *, real=False, clip=np.inf, trained=0.0, batches=OUTPUT_GRADIENT.batches, bias=True):
    """The detector after the first batches of a network with small outputs, and what it concluded last."""
    detector, result = OutputGradientDetector(), None
    for number in range(batches):
        generator = np.random.default_rng(number)
        y = generator.normal(0.3, 1.0, (T, B, 1)) if real else generator.integers(0, V, (T, B))
        hot = y if real else np.eye(V)[y]
        z = generator.normal(0, 0.1, hot.shape) + 8 * trained * hot
        losses, d = loss_of(z, hot)
        gradient = factor * d.mean(axis=(0, 1))
        gradient *= min(1.0, clip / np.linalg.norm(gradient))
        grads = (
            {"bias": gradient[:, None], "w": generator.normal(size=(3, 3))}
            if bias
            else {"w": generator.normal(size=(3, 3))}
        )
        if np.isfinite(clip):
            del grads["w"]
        batch = Batch((generator.normal(size=(T, B, 1)), y), "train", number + 1, batch_size=B)
        result = detector.check(batch, float(losses.mean()) * factor, grads)
    return detector, result


def test_a_mean_has_the_factor_1():
    detector, result = play(nll)
    assert (result.finding, set(result.checked), detector.done) == (None, {"RNN301", "RNN302"}, True)
    assert not detector.watching


def test_a_second_softmax_divides_the_gradient_by_the_number_of_classes():
    finding = play(twice)[1].finding
    assert (finding.code, finding.evidence["gradient_factor"]) == ("RNN302", pytest.approx(1 / V, rel=0.1))
    assert finding.evidence["floor"] == pytest.approx(np.log(1 + (V - 1) / np.e))
    assert len(finding.message.partition(":")[0]) <= 80


@pytest.mark.parametrize(("real", "loss"), [(False, nll), (True, squares)])
@pytest.mark.parametrize(("count", "name"), [(T * B, "the number of positions"), (T, "the number of time steps")])
def test_a_mean_that_is_divided_twice(real, loss, count, name):
    finding = play(loss, 1 / count, real=real)[1].finding
    assert (finding.code, finding.evidence["factor"]) == ("RNN301", count)
    assert name in finding.message


@pytest.mark.parametrize(
    "script",
    [
        {"loss_of": brier},
        {"loss_of": squares, "real": True},
        {"loss_of": nll, "clip": 0.02},
        {"loss_of": nll, "trained": 1.0},
        {"loss_of": twice, "bias": False},
        {"loss_of": twice, "batches": OUTPUT_GRADIENT.batches - 1},
    ],
)
def test_others_are_left_alone(script):
    assert play(**script)[1].finding is None


def test_without_an_output_bias_a_second_softmax_shows_when_losses_rest_on_its_smallest_loss():
    floor = np.log(1 + (V - 1) / np.e)
    detector, _ = play(twice, bias=False)
    assert detector.watching
    found = [detector.watch(floor * 1.01).finding for _ in range(OUTPUT_GRADIENT.losses_on_floor)]
    assert [one.code for one in found if one] == ["RNN302"]
    detector, _ = play(nll, bias=False)
    assert set(detector.watch(0.9 * floor).checked) == {"RNN302"}
    assert not detector.watching
