import numpy as np
import pytest

from rnncallbacks.doctor.instrument import Site
from rnncallbacks.doctor.iteration_record import IterationRecord
from rnncallbacks.doctor.roles.batch_data import find_batch_data, in_function_of_loss
from rnncallbacks.doctor.roles.epoch_report import EpochReport
from rnncallbacks.doctor.roles.gradient_sources import ArrayChange, candidates_of
from rnncallbacks.doctor.roles.interventions import changing_arrays, persists
from rnncallbacks.doctor.roles.loss_choice import accumulates

RNG = np.random.default_rng(0)


def key(name):
    return "end", "__main__", name


def record(number, start, end, **more):
    made = IterationRecord(number, 1, {key(k): v for k, v in start.items()}, {key(k): v for k, v in end.items()})
    made.start_identities = {one: hash(one[2]) for one in made.start}
    made.identities = {one: hash(one[2]) for one in made.end}
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_one_name_stands_for_an_array_and_a_constant_one_is_left_out():
    weights, constant = RNG.standard_normal((3, 2)), np.ones(2)
    one = record(
        1, {"w": weights, "alias": weights, "c": constant}, {"w": weights + 1, "alias": weights, "c": constant}
    )
    one.start_identities[key("alias")] = one.start_identities[key("w")]
    assert changing_arrays([one]) == [key("w")]


def test_a_view_of_a_changing_array_is_left_out():
    flat = RNG.standard_normal(6)
    one = record(1, {"flat": flat, "part": flat[:3]}, {"flat": flat + 1, "part": flat[:3] + 1})
    one.memory = {key("flat"): (0, 48), key("part"): (0, 24)}
    assert changing_arrays([one]) == [key("flat")]


def test_a_state_persists_and_a_loop_variable_does_not():
    a, b, c = (RNG.standard_normal(2) for _ in range(3))
    records = [record(1, {"h": a, "x": a}, {"h": b, "x": a}), record(2, {"h": b, "x": c}, {"h": c, "x": c})]
    assert (persists(key("h"), records), persists(key("x"), records)) == (True, False)


def test_the_gradient_lies_against_the_change_of_its_parameter():
    w, g, other = (RNG.standard_normal((4, 3)) for _ in range(3))
    one = record(1, {"w": w}, {"w": w - 0.1 * g, "g": g, "other": other})
    (found,) = candidates_of(key("w"), {key("w")}, [one])
    assert (found.key, found.alignment, found.sign) == (key("g"), pytest.approx(1.0), 1.0)


def test_an_update_by_the_sign_of_the_gradient_is_aligned():
    g = RNG.standard_normal((4, 3))
    assert ArrayChange(-0.1 * np.sign(g)).alignment(g) == (1.0, 1.0)


def test_sums_and_moving_averages_accumulate_and_a_loss_does_not():
    losses = [3.0, 2.0, 1.5, 1.25]
    records, total, average = [], 1.0, 9.0
    for number, loss in enumerate(losses, 1):
        start = {"total": total, "average": average, "loss": losses[number - 2]}
        total, average = total + loss, 0.9 * average + 0.1 * loss
        records.append(record(number, start, {"total": total, "average": average, "loss": loss}))
    assert [accumulates(key(name), records) for name in ("total", "average", "loss")] == [True, True, False]


def test_targets_are_the_inputs_one_step_later():
    def batch(number):
        tokens = RNG.integers(0, 9, 12)
        return record(number, {}, {"a": tokens[:-1], "b": tokens[1:]})

    data = find_batch_data([batch(1), batch(2)], set(), None)
    assert (data.inputs, data.targets) == (key("a"), key("b"))


def test_the_label_of_one_sequence_is_a_target():
    def sentence(number, label):
        return record(number, {}, {"word_ids": RNG.integers(0, 9, 3 + number), "label": label, "n": number})

    data = find_batch_data([sentence(1, 1), sentence(2, 0), sentence(3, 0)], set(), None)
    assert (data.inputs, data.targets) == (key("word_ids"), key("label"))


def test_values_of_a_series_are_shifted_and_one_hot_vectors_are_not():
    def window(number):
        wave = RNG.standard_normal(7)
        return record(number, {}, {"a": wave[:-1], "b": wave[1:], "p": np.eye(6)[number], "q": np.eye(6)[number + 1]})

    data = find_batch_data([window(1), window(2)], set(), None)
    assert (data.inputs, data.targets) == (key("a"), key("b"))


def test_a_gradient_that_is_never_set_to_zero_is_one_that_only_grows():
    w, g = RNG.standard_normal((2, 4, 3))
    one = record(1, {"w": w, "dw": np.zeros((4, 3))}, {"w": w - 0.1 * g, "dw": g})
    adding = Site("change", "script.py", 1, "dw += dy @ h", "<module>", additive=True)
    keys = {key("w"), key("dw")}
    assert candidates_of(key("w"), keys, [one], frozenset([key("dw")])) == []
    one.changes = {one.identities[key("dw")]: (adding,)}
    (found,) = candidates_of(key("w"), keys, [one], frozenset([key("dw")]))
    assert found.key == key("dw")
    clipping = Site("change", "script.py", 2, "np.clip(dw, -5, 5, out=dw)", "<module>")
    one.changes = {one.identities[key("dw")]: (adding, clipping)}
    assert [found.key for found in candidates_of(key("w"), keys, [one], frozenset([key("dw")]))] == [key("dw")]


def test_a_report_that_is_no_share_of_the_batch_losses_is_none():
    report = EpochReport()
    after = record(4, {"losses": np.array([0.7])}, {})
    assert report.read([1.0, 2.0, 3.0], after) is None


@pytest.mark.parametrize(
    ("phase", "start", "between", "reported"),
    [
        ("train", {"history": np.array([[2.0, 0.7, 0.9]])}, {}, 2.0),  # one row for each epoch
        ("train", {}, {("shown", "a.py:9", "total / 2"): [3.0]}, 3.0),
        ("train", {}, {("shown", "a.py:9", "total"): [6.0]}, None),  # the sum itself
        ("train", {}, {("shown", "a.py:9", "total / 2"): [3.0, 3.0]}, None),  # not once an epoch
        ("train", {"val_losses": np.array([3.0])}, {}, None),
        ("val", {"train_losses": np.array([3.0])}, {}, None),
        ("val", {"val_losses": np.array([3.0])}, {}, 3.0),
        ("val", {"checked": 1.5}, {}, 1.5),
        ("val", {"best_val": 1.5, "val_hits": 2.0}, {}, None),
    ],
)
def test_a_report_is_a_share_of_the_losses_of_its_phase(phase, start, between, reported):
    after = record(4, start, {})
    after.between = between
    assert EpochReport(phase).read([1.0, 2.0, 3.0], after) == reported


def test_a_list_with_an_entry_for_each_batch_is_no_report():
    report = EpochReport()
    after = record(4, {"losses": np.array([1.0, 2.0, 3.0])}, {})
    assert report.read([1.0, 2.0, 3.0], after) is None


def test_the_one_hot_array_of_the_inputs_is_no_target():
    def step(number):
        x = RNG.integers(0, 5, 8)
        return record(number, {}, {"x": x, "onehot": np.eye(5)[x]})

    assert find_batch_data([step(1), step(2)], set(), None).targets is None


@pytest.mark.parametrize(
    ("in_loss", "found"),
    [
        (np.arange(3.0), ("end", "__main__", "y")),
        (np.ones(3), ("local", "nll", "y")),  # the loop passes others
        (np.eye(3), ("end", "__main__", "y")),  # the same ones, one-hot
    ],
)
def test_targets_are_those_that_the_function_of_the_loss_is_given(in_loss, found):
    one = record(1, {}, {"y": np.arange(3.0)}, inside={("local", "nll", "y"): in_loss})
    assert in_function_of_loss(key("y"), [("return", "nll", "return")], [one]) == found
