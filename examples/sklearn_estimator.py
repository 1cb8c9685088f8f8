"""A classifier of sequences for scikit-learn: cross-validation and a grid search over its options."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV

from rnncallbacks import Trainer, recommended
from rnncallbacks.rnn import RecurrentModel

Array = npt.NDArray[Any]


class SequenceClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc, unused-ignore]
    """A recurrent classifier of inputs (sequences, steps, features)."""

    def __init__(self, hidden_size: int = 8, learning_rate: float = 0.02, max_epochs: int = 12, seed: int = 0) -> None:
        self.hidden_size = hidden_size
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.seed = seed

    def fit(self, inputs: Array, labels: Array) -> Self:
        self.classes_, targets = np.unique(labels, return_inverse=True)
        sizes: dict[str, Any] = {"input_size": inputs.shape[2], "output_size": len(self.classes_), "output": "last"}
        self.model_ = RecurrentModel(self.hidden_size, **sizes, cell="gru", seed=self.seed)
        trainer = Trainer(self.model_, "adam", learning_rate=self.learning_rate, plugins=recommended())
        self.history_ = trainer.fit((inputs, targets), max_epochs=self.max_epochs, progress=False)
        return self

    def predict(self, inputs: Array) -> Array:
        logits, _ = self.model_.predict(inputs.swapaxes(0, 1), self.model_.zero_state(len(inputs)))
        labels: Array = self.classes_[logits.argmax(axis=-1)]
        return labels


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((150, 6, 2))
    labels = np.where(inputs[:, :, 0].sum(axis=1) > 0, "up", "down")
    search = GridSearchCV(SequenceClassifier(), {"hidden_size": [2, 8]}, cv=3)
    search.fit(inputs, labels)
    print(f"best: {search.best_params_}, accuracy {search.best_score_:.2f}")
