"""Trains a character model on a short text, with the plugins of ``rnncallbacks.toml`` in the same folder."""

from pathlib import Path

from rnncallbacks import Trainer, load_plugins
from rnncallbacks.rnn.data.ngram import ngram_loss
from rnncallbacks.rnn.data.splits import split
from rnncallbacks.rnn.data.streams import StreamLoader
from rnncallbacks.rnn.data.text import Vocabulary, embedded_text
from rnncallbacks.rnn.model import RecurrentModel
from rnncallbacks.rnn.optimizers import Adam
from rnncallbacks.rnn.sampling import sample

text = embedded_text()[:100_000]
vocabulary = Vocabulary.from_tokens(text)
train, held_out = split(vocabulary.encode(text))

model = RecurrentModel(hidden_size=128, vocab_size=len(vocabulary), seed=0)
plugins = load_plugins(Path(__file__).with_name("rnncallbacks.toml"))
Trainer(model, Adam(), plugins=plugins, learning_rate=5e-3).fit(
    StreamLoader(train, batch_size=16, seq_len=32), StreamLoader(held_out, batch_size=16, seq_len=32), max_epochs=4
)

print(f"bigram model: {ngram_loss(train, held_out, len(vocabulary), order=2):.4f} nats per character")
prompt = "The "
drawn = sample(model, vocabulary.encode(prompt), 200, temperature=0.7)
print(prompt + "".join(vocabulary.decode(list(drawn))))
