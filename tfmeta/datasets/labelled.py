"""A data set as Keras trains ordinary classifiers on it."""

import tensorflow as tf

from tfmeta.arguments import check_integer
from tfmeta.reading import read_in_place, reader
from tfmeta.types import ClassDataset, check_class_dataset


def labelled(dataset: ClassDataset, batch_size: int = 64, seed: int = 0) -> tf.data.Dataset:
    """Batches of examples and their class ids, for `fit` of a plain Keras model.

    One pass goes through every example once, in another order each time.

    Args:
        dataset: `ClassDataset`, from `tfmeta.datasets`.
        batch_size: rows of a batch; the last one of a pass may be smaller.
        seed: of the order, together with that of `keras.utils.set_random_seed`.

    Returns:
        `tf.data.Dataset` of pairs

        - x: `[rows, ...]`, as in episodes: float32 in `0..1` for uint8 data, float32 for floating
          data, otherwise in the data set's own type; a nest for a data set of nests;
        - class ids: int32 `[rows]`, `0..classes-1`.

    Raises:
        ValueError: `dataset` is no `ClassDataset`, or batch_size is no integer from 1.

    Example:

    ```python
    classifier = learner.classifier(train.num_classes)
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    classifier.fit(tfmeta.datasets.labelled(train), epochs=10)
    ```
    """
    check_class_dataset(dataset)
    check_integer("batch_size", batch_size, 1)
    read = reader(dataset)
    with tf.device("CPU:0"):  # where tf.data runs
        class_ids = tf.constant(dataset.class_ids, tf.int32)

    def examples(rows):
        (x,) = read(rows)
        return x, tf.gather(class_ids, rows)

    rows = tf.data.Dataset.range(dataset.num_examples)
    rows = rows.shuffle(dataset.num_examples, seed=seed).batch(int(batch_size))
    batches = rows.map(examples, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return read_in_place(batches)
