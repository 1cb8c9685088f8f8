"""Loss curves: means over the batches of an epoch and phase, and curves that end at the same epoch."""

from rnncallbacks.detectors.progress.loss_curves import CURVE_LIMITS, LossCurves


def play(epochs):
    curves, ended = LossCurves(), []
    for epoch in epochs:
        curves.begin_epoch()
        for phase, losses in epoch.items():
            for loss in losses:
                curves.add(phase, loss)
        ended.append(curves.end_epoch())
    return curves, ended


def test_means_are_those_of_each_phase():
    curves, ended = play([{"val": [4.0], "train": [3.0, 2.0, 1.0], "test": [9.0]}, {"train": [1.0, 0.0], "val": [3.0]}])
    assert (curves.training, curves.validation) == ([2.0, 0.5], [4.0, 3.0])
    assert ended == [(True, True)] * 2


def test_an_epoch_without_training_adds_nothing():
    curves, ended = play([{"train": [1.0]}, {"val": [2.0]}, {}])
    assert (curves.training, curves.validation) == ([1.0], [])
    assert ended == [(True, False), (False, False), (False, False)]


def test_batches_of_an_epoch_that_broke_off_do_not_count():
    curves = LossCurves()
    curves.begin_epoch()
    curves.add("train", 100.0)
    curves.begin_epoch()
    curves.add("train", 1.0)
    curves.end_epoch()
    assert curves.training == [1.0]


def test_old_epochs_are_dropped():
    curves, _ = play([{"train": [float(epoch)], "val": [0.0]} for epoch in range(CURVE_LIMITS.longest + 5)])
    assert (len(curves.training), curves.training[0], len(curves.validation)) == (CURVE_LIMITS.longest, 5.0, 200)


def test_losses_of_validation_batches_are_kept_one_by_one():
    many = [1.0] * (CURVE_LIMITS.validation_batches + 1)
    curves, _ = play(
        [{"train": [9.0], "val": [1.0, 2.0], "test": [5.0]}, {"train": [9.0], "val": many}, {"val": [7.0]}]
    )
    assert curves.batches == [[1.0, 2.0], []]
