"""Names of inputs and of targets."""

from __future__ import annotations

import re

INPUT_WORD = re.compile(
    "inputs?|inps?|xs?|xb|bx|xt|src|source|tokens?|toks?|seqs?|sequence|sentences?|words|chars|ids|window|signal|series|"
    "features|numbers|symbols"
)
TARGET_WORD = re.compile(
    "targets?|tgts?|trg|ys?|yb|by|yt|labels?|lab|t|dst|want|wanted|expected|goal|true|truth|answers?|correct|gold|tags?|"
    "outs?|outputs?|next|desired|teacher|classes|category|sentiment"
)
LABEL_WORD = re.compile(
    "targets?|tgts?|y|yt|labels?|lab|answer|truth|true|expected|desired|category|sentiment|tag|class"
)
NO_DATA_WORD = re.compile("hat|preds?|predictions?|probs?|loss|losses|len|length|size|count")
"""Words of values that are computed from data, and of numbers about it."""
LOOP_ITEM = re.compile(r"(?=[^'\"]*[^\W\d])(?:\[(?:[^\[\]'\"]|\[[^\[\]'\"]*\])*\])+$")
"""The index of an item that a loop reads by its variables."""
WEIGHT_WORD = re.compile("masks?|weights?|lens?|lengths?|pad|padding|dropout|drop|noise|valid|keep|idx|index|indices")


def name_words(expression: str) -> list[str]:
    """The words of a variable or attribute, in lower case; empty for a fixed item and for attributes of attributes.

    >>> name_words("self.batch_X"), name_words("targetSeq[i]"), name_words("rows[0]")
    (['batch', 'x'], ['target', 'seq'], [])
    """
    found = re.fullmatch(r"(?:\w+\.)?_*([^\W\d]\w*)", LOOP_ITEM.sub("", expression))
    if found is None:
        return []
    parts = re.split(r"_|(?<=[a-z])(?=[A-Z])", found[1])
    return [word.lower().rstrip("0123456789") or word.lower() for word in parts if word]


def is_target_name(expression: str) -> bool:
    """Whether an expression is named as targets are.

    >>> [is_target_name(name) for name in ("ys", "target_seq", "x_next", "y_hat", "xs")]
    [True, True, True, False, False]
    """
    words = name_words(expression)
    return any(map(TARGET_WORD.fullmatch, words)) and not any(map(NO_DATA_WORD.fullmatch, words))


def is_input_name(expression: str) -> bool:
    """Whether an expression is named as inputs are.

    >>> [is_input_name(name) for name in ("xs", "self.inputs", "seq", "target_seq", "seq_len")]
    [True, True, True, False, False]
    """
    words = name_words(expression)
    other = any(TARGET_WORD.fullmatch(word) or NO_DATA_WORD.fullmatch(word) for word in words)
    return any(map(INPUT_WORD.fullmatch, words)) and not other


def is_label_name(expression: str) -> bool:
    """Whether a number is named as the target of a sequence is.

    >>> [is_label_name(name) for name in ("label", "y", "t", "y_len")]
    [True, True, False, False]
    """
    words = name_words(expression)
    return any(map(LABEL_WORD.fullmatch, words)) and not any(map(NO_DATA_WORD.fullmatch, words))


def is_fixed_item(expression: str) -> bool:
    """Whether an expression is an item that does not depend on the loop's variables, such as a step of a tape.

    >>> [is_fixed_item(text) for text in ("layers[0].w[1]", "p['W']", "rows[i][0]", "x[rows[i]]", "rows")]
    [True, True, False, False, False]
    """
    return "[" in expression and not LOOP_ITEM.search(expression)


def is_weight_name(expression: str) -> bool:
    """Whether a value is named as a mask, as a weight of steps or as an index is.

    >>> [is_weight_name(name) for name in ("mask", "batch.seq_lens", "idx", "labels")]
    [True, True, True, False]
    """
    return any(map(WEIGHT_WORD.fullmatch, name_words(expression)))
