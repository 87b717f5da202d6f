"""tokens: texts as ids and their mask."""

import keras
import numpy as np
import pytest

from tfmeta.datasets import from_arrays, tokens


@pytest.fixture(scope="module")
def tokenizer():
    layer = keras.layers.TextVectorization(output_sequence_length=4)
    layer.adapt(["book a flight", "play a song"])
    return layer


def test_ids_and_mask(tokenizer):
    words = tokenizer.get_vocabulary()
    found = tokens(["Play!", "book a big red flight", b"a song"], tokenizer)
    assert found["ids"].dtype == np.int32
    assert [[words[i] for i in row if i] for row in found["ids"]] == [
        ["play"], ["book", "a", "[UNK]", "[UNK]"], ["a", "song"],
    ]  # fmt: skip
    assert found["mask"].dtype == np.float32
    np.testing.assert_array_equal(found["mask"].sum(axis=1), [1, 4, 2])
    data = from_arrays(found, ["play", "book", "play"])
    assert data.example_shape == {"ids": (4,), "mask": (4,)}
    np.testing.assert_array_equal(data.of_class("book")["mask"], [[1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a song", ""], r"texts that are not empty\. Received: '' in row 1"),
        (["  ", "a song"], r"texts that are not empty\. Received: '  ' in row 0"),
        (["a song", "?!"], r"a token in each text\. Received: none in 1 of 2, the first in row 1"),
        ([], r"at least one text\. Received: an empty list"),
        ("a song", r"a list of texts\. Received: one text, 'a song'"),
        (["a song", 3.0], r"one str a row\. Received: float in row 1, 3.0"),
    ],
)
def test_bad_texts(tokenizer, texts, message):
    with pytest.raises(ValueError, match=message):
        tokens(texts, tokenizer)


def test_bad_tokenizers():
    vectorization = keras.layers.TextVectorization
    with pytest.raises(ValueError, match=r"TextVectorization\. Received: function"):
        tokens(["a song"], test_bad_texts)
    with pytest.raises(ValueError, match=r"Received: output_mode='int', output_sequence_length=No"):
        tokens(["a song"], vectorization())
    with pytest.raises(ValueError, match=r"Received: output_mode='multi_hot'"):
        tokens(["a song"], vectorization(output_mode="multi_hot"))
    with pytest.raises(ValueError, match=r"an empty vocabulary\. Call tokenizer\.adapt"):
        tokens(["a song"], vectorization(output_sequence_length=4))
