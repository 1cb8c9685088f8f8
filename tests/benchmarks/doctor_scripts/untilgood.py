import numpy as np

# remembers whether a pulse has come (a set/reset flip-flop), trains until it is good enough. no seed.

def sig(z): return 1./(1.+np.exp(-z))

nh, T, N = 20, 16, 10
A = np.random.randn(nh, 2)*.5
B = np.random.randn(nh, nh)*.2
C = np.random.randn(1, nh)*.3
a = np.zeros((nh,1)); c = np.zeros((1,1))
W = [A, B, C, a, c]
V = [np.zeros(w.shape) for w in W]

def pulses():
    s = (np.random.rand(T, N) < .15)*1.
    r = (np.random.rand(T, N) < .15)*1.
    y = np.zeros((T, N)); state = np.zeros(N)
    for t in range(T):
        state = np.where(s[t] > 0, 1, np.where(r[t] > 0, 0, state))
        y[t] = state
    return np.stack([s, r], 1), y[:, None]

def fprop(X):
    H = [np.zeros((nh, N))]; P = []
    for t in range(T):
        H.append(np.tanh(A@X[t] + B@H[-1] + a))
        P.append(sig(C@H[-1] + c))
    return H, P

def cost(P, Y):
    return -sum((Y[t]*np.log(P[t]) + (1-Y[t])*np.log(1-P[t])).sum() for t in range(T))/(T*N)

def bprop(X, Y, H, P):
    G = [np.zeros(w.shape) for w in W]
    k = np.zeros((nh, N))
    for t in range(T)[::-1]:
        e = (P[t]-Y[t])/(T*N)
        G[2] += e@H[t+1].T
        G[4] += e.sum(1, keepdims=True)
        d = (C.T@e + k)*(1-H[t+1]**2)
        G[0] += d@X[t].T
        G[1] += d@H[t].T
        G[3] += d.sum(1, keepdims=True)
        k = B.T@d
    return G

it = 0
J = 9.
avg = None
while J > .02 and it < 20000:
    X, Y = pulses()
    H, P = fprop(X)
    j = cost(P, Y)
    J = j if avg is None else .98*J + .02*j
    avg = J
    G = bprop(X, Y, H, P)
    for i in range(len(W)):
        V[i] = .9*V[i] + G[i]
        W[i] -= .2*V[i]
    it += 1
    if it % 250 == 0: print(it, round(J, 4))
print('done after', it)
