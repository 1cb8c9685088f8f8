import numpy as np

class RNN:
  def __init__(self, input_size, output_size, hidden_size=32, learning_rate=0.05):
    self.input_size = input_size
    self.output_size = output_size
    self.hidden_size = hidden_size
    self.learning_rate = learning_rate

    self.Wax = np.random.randn(hidden_size, input_size) * 0.5
    self.Waa = np.random.randn(hidden_size, hidden_size) * 0.15
    self.Wya = np.random.randn(output_size, hidden_size) * 0.3
    self.ba = np.zeros((hidden_size, 1))
    self.by = np.zeros((output_size, 1))

  def forward(self, inputs):
    a = np.zeros((self.hidden_size, 1))
    self.last_inputs = inputs
    self.last_as = { 0: a }
    for i, x in enumerate(inputs):
      a = np.tanh(self.Wax @ x + self.Waa @ a + self.ba)
      self.last_as[i + 1] = a
    y = self.Wya @ a + self.by
    return y, a

  def backward(self, d_y):
    # perform the backward phase and update the weights
    n = len(self.last_inputs)
    d_Wya = d_y @ self.last_as[n].T
    d_by = d_y
    d_Waa = np.zeros(self.Waa.shape)
    d_Wax = np.zeros(self.Wax.shape)
    d_ba = np.zeros(self.ba.shape)
    d_a = self.Wya.T @ d_y
    for t in reversed(range(n)):
      temp = ((1 - self.last_as[t + 1] ** 2) * d_a)
      d_ba += temp
      d_Waa += temp @ self.last_as[t].T
      d_Wax += temp @ self.last_inputs[t].T
      d_a = self.Waa.T @ temp
    for d in [d_Wax, d_Waa, d_Wya, d_ba, d_by]:
      np.clip(d, -1, 1, out=d)
    self.Waa -= self.learning_rate * d_Waa
    self.Wax -= self.learning_rate * d_Wax
    self.Wya -= self.learning_rate * d_Wya
    self.ba -= self.learning_rate * d_ba
    self.by -= self.learning_rate * d_by

np.random.seed(31)
import random
random.seed(31)

adverbs = ['', 'very ', 'quite ', 'not ', 'not very ']
words = {'good': True, 'bad': False, 'happy': True, 'sad': False, 'nice': True, 'ugly': False}
train_data = {}
for adverb in adverbs:
  for start in ['i am ', 'this is ', 'it was ']:
    for word, positive in words.items():
      train_data[start + adverb + word] = positive != adverb.startswith('not')

vocab = sorted(set(w for text in train_data.keys() for w in text.split(' ')))
word_to_idx = { w: i for i, w in enumerate(vocab) }

def createInputs(text):
  inputs = []
  for w in text.split(' '):
    v = np.zeros((len(vocab), 1))
    v[word_to_idx[w]] = 1
    inputs.append(v)
  return inputs

def softmax(xs):
  return np.exp(xs) / sum(np.exp(xs))

rnn = RNN(len(vocab), 2)

def processData(data, backprop=True):
  items = list(data.items())
  random.shuffle(items)
  loss = 0
  num_correct = 0
  for x, y in items:
    inputs = createInputs(x)
    target = int(y)
    out, _ = rnn.forward(inputs)
    probs = softmax(out)
    loss -= np.log(probs[target])
    num_correct += int(np.argmax(probs) == target)
    if backprop:
      d_L_d_y = probs
      d_L_d_y[target] -= 1
      rnn.backward(d_L_d_y)
  return loss / len(data), num_correct / len(data)

for epoch in range(60):
  train_loss, train_acc = processData(train_data)
  if epoch % 10 == 9:
    print('--- Epoch %d' % (epoch + 1))
    print('Train:\tLoss %.3f | Accuracy: %.3f' % (train_loss.item(), train_acc))
