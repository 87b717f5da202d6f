"""Texts and sound that do not fit the network: said in words, before the first step."""

import keras
import numpy as np
import pytest
import tasks

import tfmeta
from tfmeta.learners import MAML, ProtoNet, ZeroShotProtoNet

TEXTS = ["play a song", "start the music", "pay the bill", "settle my rent"]
INTENTS = ["play_music", "play_music", "pay_bill", "pay_bill"]


def tokenizer(length=6):
    layer = keras.layers.TextVectorization(output_sequence_length=length)
    layer.adapt(TEXTS)
    return layer


def encoder(length=6, vocabulary=13, outputs=3):
    ids = keras.Input((length,), dtype="int32", name="ids")
    mask = keras.Input((length,), name="mask")
    words = keras.layers.Embedding(vocabulary, outputs)(ids)
    return keras.Model({"ids": ids, "mask": mask}, keras.layers.Dot(1)([mask, words]))


def texts(length=6):
    return tfmeta.datasets.from_arrays(tfmeta.datasets.tokens(TEXTS, tokenizer(length)), INTENTS)


def refused(learner, dataset, message, ways=2):
    episodes = tfmeta.episodes.classification(dataset, ways, 1, 1, meta_batch_size=1)
    learner.compile("adam", tasks.CROSSENTROPY, run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        learner.fit(episodes, steps_per_epoch=1, verbose=0)


def test_tokens_that_the_network_does_not_know():
    learner = ProtoNet(encoder())
    refused(learner, texts(5), r"x\['ids'\] of shape \(6,\) a row.*Received: \(5,\)")


def test_token_ids_beyond_the_vocabulary():
    message = (
        r"token ids 0\.\.7 in support\.x, x\['ids'\], .*Received: 1\d\. .*input_dim=1\d or more"
    )
    refused(ProtoNet(encoder(vocabulary=8)), texts(), message)
    layers = [keras.Input((6,), dtype="int32"), keras.layers.Embedding(8, 3)]
    inside = keras.Sequential([*layers, keras.layers.GlobalAveragePooling1D()])
    ids = tokenizer()(TEXTS).numpy()
    for network in (inside, keras.Sequential([inside, keras.layers.Dense(3)])):
        for learner in (ProtoNet(network), tfmeta.learners.LSTMLearner(network, ways=2, units=3)):
            refused(
                learner, tfmeta.datasets.from_arrays(ids, INTENTS), r"0\.\.7 in support\.x, x, "
            )
    below = tfmeta.datasets.from_arrays(ids - 1, INTENTS)
    refused(ProtoNet(encoder_of_ids(13)), below, r"0\.\.12 .*Received: -1\. .*input_dim=13 or more")


def encoder_of_ids(vocabulary):
    ids = keras.Input((6,), dtype="int32")
    words = keras.layers.Embedding(vocabulary, 3)(ids)
    return keras.Model(ids, keras.layers.GlobalAveragePooling1D()(words))


def test_names_of_another_length_and_names_that_are_none():
    networks = encoder(), encoder()
    names = [name.replace("_", " ") for name in ("pay_bill", "play_music")]
    short = tfmeta.datasets.tokens(names, tokenizer(5))
    described = tfmeta.datasets.described(texts(), short)
    message = r"x\['ids'\] of shape \(6,\) a row.*Received: \(5,\)"
    refused(ZeroShotProtoNet(*networks), described, message)
    with pytest.raises(ValueError, match=r"numbers\. Received: text, 'pay bill'.*tokens\("):
        tfmeta.datasets.described(texts(), dict(zip(texts().class_names, names, strict=True)))


def test_sound_of_another_number_of_bands():
    noise = np.random.default_rng(0).normal(size=(4, 16000)).astype("float32")
    dataset = tfmeta.datasets.from_arrays(tfmeta.datasets.log_mel(noise, bands=20), INTENTS)
    layers = [keras.Input((98, 40)), keras.layers.Flatten()]
    refused(ProtoNet(keras.Sequential(layers)), dataset, r"\(98, 40\) a row.*Received: \(98, 20\)")


def test_a_head_of_another_width():
    more = tfmeta.datasets.tokens([*TEXTS, "a bill", "my song"], tokenizer())
    three = tfmeta.datasets.from_arrays(more, ["a", "b", "c"] * 2)
    message = r"as many ways as the network has outputs, 2\. Received: episodes of 3 ways"
    network = keras.Sequential([encoder(), keras.layers.Dense(2)])
    refused(MAML(network), three, message, ways=3)
    with pytest.raises(ValueError, match=r"outputs of one width\. Received: 3 and 4"):
        ZeroShotProtoNet(encoder(), encoder(outputs=4))
