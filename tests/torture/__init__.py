"""An attack on the library: kills, damaged files, mutated configurations and adversarial plugins.

``python -m tests.torture kills --count 2000`` runs trials from the root of the repository, and writes one JSON line for
each. A trial is determined by the kind of attack, the seed and its number.
"""
