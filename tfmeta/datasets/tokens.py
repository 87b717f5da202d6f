"""Texts as token ids and their mask, by a tokenizer of Keras."""

from typing import Any

import keras
import numpy as np


def tokens(texts: Any, tokenizer: keras.layers.Layer) -> dict[str, np.ndarray]:
    """Texts as a nest of two arrays, for `from_arrays` or as x of `tfmeta.Examples`.

    Args:
        texts: list or array of str, one a row.
        tokenizer: a `keras.layers.TextVectorization` with `output_mode="int"` and an
            `output_sequence_length`, after its `adapt`. Texts that are longer are cut.

    Returns:
        A dict of "ids", int32 `[rows, length]`, 0 where a text has ended, and "mask", float32
        `[rows, length]`, 1 for a token and 0 for padding.

    Raises:
        ValueError: a text is empty, or has no token of this tokenizer; the texts are no list of
            str; the tokenizer is none, gives no ids of one length, or knows no word yet.

    Example:

    ```python
    tokenizer = keras.layers.TextVectorization(output_sequence_length=24)
    tokenizer.adapt(train_texts)
    train = tfmeta.datasets.from_arrays(
        tfmeta.datasets.tokens(train_texts, tokenizer), train_intents
    )
    ```
    """
    texts = _checked_texts(texts)
    _check_tokenizer(tokenizer)
    ids = np.asarray(tokenizer(texts), np.int32)
    empty = np.flatnonzero((ids == 0).all(axis=1))
    if len(empty):
        first = texts[empty[0]]
        raise ValueError(
            f"Expected a token in each text. Received: none in {len(empty)} of {len(texts)}, the "
            f"first in row {empty[0]}, {first!r}. Leave these rows out, or make the tokenizer keep "
            "what they hold (standardize=, split=, ngrams=)."
        )
    return {"ids": ids, "mask": (ids > 0).astype(np.float32)}


def _checked_texts(texts):
    """Texts as an array of str `[rows]`."""
    if isinstance(texts, str | bytes):
        raise ValueError(f"Expected a list of texts. Received: one text, {texts!r:.80}.")
    texts = list(texts)
    if not texts:
        raise ValueError("Expected at least one text. Received: an empty list.")
    texts = [t.decode() if isinstance(t, bytes) else t for t in texts]
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"Expected texts, one str a row. Received: {type(text).__name__} in row {row}, "
                f"{text!r:.80}."
            )
        if not text.strip():
            raise ValueError(
                f"Expected texts that are not empty. Received: {text!r} in row {row}. Leave it out."
            )
    return np.array(texts)


def _check_tokenizer(tokenizer):
    import keras

    if not isinstance(tokenizer, keras.layers.TextVectorization):
        raise ValueError(
            f"Expected a keras.layers.TextVectorization. Received: {type(tokenizer).__name__}."
        )
    config = tokenizer.get_config()
    if config["output_mode"] != "int" or config["output_sequence_length"] is None:
        raise ValueError(
            'Expected a TextVectorization with output_mode="int" and an output_sequence_length, so '
            "that all rows have one length. Received: "
            f"output_mode={config['output_mode']!r}, "
            f"output_sequence_length={config['output_sequence_length']!r}."
        )
    if tokenizer.vocabulary_size() <= 2:  # padding and the unknown token
        raise ValueError(
            "Expected a TextVectorization that knows words. Received: an empty vocabulary. Call "
            "tokenizer.adapt(texts) on the texts of the training classes first."
        )
