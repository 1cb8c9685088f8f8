"""Arrays of other libraries: views that share their memory, and what is told where there can be none."""

import numpy as np
import pytest

from rnncallbacks import Run
from rnncallbacks.arrays.containers import named_arrays
from rnncallbacks.arrays.dlpack import view_of, with_readable_views, with_views
from rnncallbacks.core.batch import Batch
from rnncallbacks.detectors.sequences import sequences_of
from rnncallbacks.errors import ContainerError, LossError
from rnncallbacks.plugins import EarlyStopping, GradientClipping, LossAveraging

CUDA = 2


class Tensor:
    """As much of a tensor as DLPack asks for."""

    def __init__(self, values, device=1):
        self.array = np.asarray(values)
        self.device = device
        self.ndim, self.shape = self.array.ndim, self.array.shape

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **options):
        if self.device != 1:
            raise BufferError("no memory of the CPU")
        return self.array.__dlpack__(**options)

    def item(self):
        return self.array.item()


class Parameter(Tensor):
    """A tensor that is exported only without its gradient, as one of PyTorch."""

    def __dlpack__(self, **options):
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    def detach(self):
        return Tensor(self.array)


def read_only(values):
    array = np.array(values)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", [Tensor, Parameter])
def test_the_view_shares_the_memory(kind):
    tensor = kind(np.ones((2, 3), np.float32))
    view = view_of(tensor, "params")
    view[0] = 5.0
    assert type(view) is np.ndarray
    assert tensor.array.tolist() == [[5, 5, 5], [1, 1, 1]]


def test_containers_keep_their_structure_and_those_of_numpy_arrays_are_returned_as_they_are():
    tensors = {"cell": [Tensor([1.0]), np.zeros(2)], "head": (None, Tensor([2.0]))}
    views = with_views(tensors, "params")
    assert list(named_arrays(views)) == list(named_arrays(tensors)) == ["cell.0", "cell.1", "head.1"]
    assert views["cell"][1] is tensors["cell"][1]
    assert type(views["head"]) is tuple
    arrays = {"cell": [np.ones(1)], "head": None}
    assert with_views(arrays, "params") is arrays


def test_plugins_change_the_gradients_of_another_library_in_place():
    params, grads = {"w": Parameter([4.0])}, {"w": Tensor([3.0]), "unused": None}
    with Run(params, plugins=[GradientClipping(max_norm=1.0)]) as run:
        assert run.params["w"].tolist() == [4.0]
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                assert run.backward(Tensor(2.0), grads) is grads
    assert grads["w"].array == pytest.approx([1.0])


def test_the_best_parameters_are_restored_into_the_tensors():
    param = Parameter([4.0])
    plugins = [LossAveraging(), EarlyStopping(monitor="train_loss", patience=1)]
    with Run([param], plugins=plugins) as run:
        for _ in run.epochs(5):
            for _ in run.batches([0]):
                run.backward(Tensor(float(param.array[0]) ** 2), [Tensor([1.0])])
            param.array += 1.0
    assert run.stop_reason
    assert param.array == [5.0]


def test_states_of_another_library_are_carried_as_arrays_and_reset_by_row():
    state = Tensor(np.ones((1, 2)))
    with Run(zeros=lambda size: (Tensor(np.zeros((1, size))),)) as run:
        for _ in run.epochs(1):
            for number in run.batches([0, 1]):
                (entering,) = run.hidden(2)
                assert entering.tolist() == ([[0, 0]] if number == 0 else [[0, 1]])
                run.carry((state,))
                state.array[...] = 7.0  # the run has a copy
                run.reset_hidden([True, False])


def test_detectors_read_batches_and_observed_tensors():
    tokens = np.array([[0, 1, 2], [2, 1, 0]])
    assert sequences_of(Batch((Tensor(tokens), Tensor(tokens)), "train", 1)).inputs.tolist() == tokens.tolist()
    batch = Batch((Tensor(tokens), None), "train", 1)
    batch.observed.add({"targets": Tensor(tokens), "logits": lambda: Tensor(np.ones(2))})
    assert type(batch.observed["targets"]) is type(batch.observed["logits"]) is np.ndarray


def test_data_that_numpy_cannot_read_is_left_as_it_is():
    far = Tensor([1.0], device=CUDA)
    assert with_readable_views(far) is far
    assert sequences_of(Batch((far, far), "train", 1)).inputs is None


def refused(params=None, loss=0.0, grads=None):
    with Run(params) as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.backward(loss, grads)


class Network:
    def named_parameters(self):
        return iter([("w", Parameter([1.0]))])


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (
            {"params": {"w": Tensor([1.0], device=CUDA)}},
            ContainerError,
            r"params at 'w': expected memory of the CPU, got a \w+.Tensor on DLPack device 2\n  hint: .* on the CPU",
        ),
        (
            {"grads": [Tensor([1.0], device=CUDA)]},
            ContainerError,
            r"gradients at '0': expected memory of the CPU",
        ),
        (
            {"params": [Tensor(np.array([None]))]},
            ContainerError,
            r"params at '0': NumPy cannot share the memory .*\n  hint: pass a dense tensor of float32",
        ),
        (
            {"grads": {"w": Tensor(read_only([1.0]))}},
            ContainerError,
            r"gradients: 'w' cannot be written to, and plugins change gradients in place\n  hint: copy it first",
        ),
        (
            {"loss": Tensor([1.0]), "grads": [np.ones(1)]},
            LossError,
            r"got an array of shape \(1,\)\n  hint: write loss.it",
        ),
        ({"loss": Tensor([1.0, 2.0]), "grads": [np.ones(1)]}, LossError, r"shape \(2,\)\n  hint: average over time"),
        ({"params": Network()}, ContainerError, r"got Network\n  hint: .* dict\(model.named_parameters\(\)\)"),
        ({"params": Network().named_parameters()}, ContainerError, "an iterator ends after one pass"),
    ],
)
def test_what_cannot_be_shared_is_told(given, kind, text):
    with pytest.raises(kind, match=text):
        refused(**given)


def test_parameters_that_cannot_change_are_read():
    with Run({"w": Tensor(read_only([1.0]))}) as run:
        assert not run.params["w"].flags.writeable
        run.params = {"w": Tensor(read_only([2.0]))}
        assert run.params["w"].tolist() == [2.0]


def test_numbers_in_tensors_are_logged():
    with Run() as run:
        for _ in run.epochs(1):
            for _ in run.batches([0]):
                run.log_batch(norm=Tensor(2.0))
                run.log(norm=Tensor(0.5))
    assert run.history[-1]["norm"] == 0.5


@pytest.mark.extras
def test_tensors_of_pytorch_are_clipped_in_place_and_its_closures_change_nothing():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    lstm, inputs = torch.nn.LSTM(3, 4), torch.randn(5, 2, 3)
    expected, rows = {}, []
    with Run(dict(lstm.named_parameters()), plugins=[GradientClipping(max_norm=0.01)]) as run:
        for _ in run.epochs(1):
            for _ in run.batches([(inputs, None)]):
                loss = lstm(inputs)[0].square().mean()
                loss.backward()
                grads = {name: param.grad for name, param in lstm.named_parameters()}
                kept = {name: grad.clone() for name, grad in grads.items()}
                run.backward(loss, grads, closure=lambda: lstm(inputs)[0].square().mean())
                rows.append((run.batch.closure(), loss.item()))
                expected = {
                    name: grad * 0.01 / torch.stack([*map(torch.norm, kept.values())]).norm()
                    for name, grad in kept.items()
                }
    assert rows[0][0] == pytest.approx(rows[0][1], rel=1e-6)
    for name, param in lstm.named_parameters():
        torch.testing.assert_close(param.grad, expected[name])
        assert np.shares_memory(run.params[name], param.detach().numpy())


@pytest.mark.extras
@pytest.mark.parametrize("dtype", ["bfloat16", "sparse"])
def test_tensors_of_pytorch_without_a_view_are_told(dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2).to_sparse() if dtype == "sparse" else torch.zeros(2, dtype=getattr(torch, dtype))
    with pytest.raises(ContainerError, match="NumPy cannot share the memory of a torch"):
        Run([tensor])
