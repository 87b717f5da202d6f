"""Sound as log-mel features, from a wav file or from samples."""

import os
import wave
from typing import Any

import numpy as np

from tfmeta.arguments import check_number


def log_mel(
    sound: Any,
    rate: float = 16000,
    *,
    seconds: float = 1.0,
    window: float = 0.025,
    hop: float = 0.010,
    fft_length: int = 512,
    bands: int = 40,
    frequencies: tuple[float, float] = (20.0, 7600.0),
    floor: float = 1e-6,
) -> np.ndarray:
    """The natural logarithm of power in mel bands over time.

    One function for training and for use: an adapted model that was trained on these features says
    what is in a file by `model.predict(log_mel("word.wav")[None])`.

    Args:
        sound: path of a wav file (one channel, 16 bits), or an array of samples in -1..1,
            `[samples]`, or several recordings, `[..., samples]`.
        rate: samples a second. A file of another rate is refused, not resampled: its features
            would be of other frequencies.
        seconds: length of every recording: longer ones are cut around their middle, shorter ones
            end in silence, zeros. None keeps them as they are.
        window, hop: length of a (Hann) window and the distance of two, in seconds.
        fft_length: samples of a Fourier transform, at least those of a window.
        bands: number of mel bands.
        frequencies: the lowest and the highest one, in Hertz; at most half the rate.
        floor: what is added to a band's power, which makes silence a finite number.

    Returns:
        float32 array `[..., frames, bands]`; the defaults give 98 frames of one second.

    Raises:
        ValueError: the file is no such wav file or has another rate; an argument is out of its
            range; the sound is shorter than a window.
    """
    rate = int(check_number("rate", rate))
    size = round(check_number("window", window) * rate)
    step = round(check_number("hop", hop) * rate)
    _check(rate, size, fft_length, frequencies)
    samples = _read(sound, rate) if isinstance(sound, str | os.PathLike) else _as_samples(sound)
    if seconds is not None:
        samples = _of_length(samples, round(check_number("seconds", seconds) * rate))
    if samples.shape[-1] < size:
        raise ValueError(
            f"Expected at least {size} samples, one window of {window} s. Received: "
            f"{samples.shape[-1]}."
        )
    import tensorflow as tf

    with tf.device("CPU:0"):
        spectrum = tf.signal.stft(samples, size, max(step, 1), fft_length)
        to_mel = tf.signal.linear_to_mel_weight_matrix(
            bands, fft_length // 2 + 1, rate, *map(float, frequencies)
        )
        power = tf.tensordot(tf.square(tf.abs(spectrum)), to_mel, 1)
        return tf.math.log(power + floor).numpy()


def _check(rate, size, fft_length, frequencies):
    low, high = frequencies
    if not 0 <= low < high <= rate / 2:
        raise ValueError(
            f"Expected frequencies (low, high) with 0 <= low < high <= {rate / 2:g}, half the "
            f"rate. Received: {frequencies}."
        )
    if fft_length < size:
        raise ValueError(
            f"Expected fft_length to be at least {size}, the samples of a window. Received: "
            f"{fft_length}."
        )


def _read(path, rate):
    """The samples of a wav file, float32 `[samples]`."""
    try:
        with wave.open(os.fspath(path), "rb") as file:
            facts = file.getparams()
            data = file.readframes(facts.nframes)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"Expected a wav file of 16 bits. Received: {path}: {error}.") from None
    if facts.framerate != rate:
        raise ValueError(
            f"Expected a wav file of {rate} samples a second. Received: {facts.framerate} in "
            f"{path}. Resample the file (`sox in.wav -r {rate} out.wav`), or, if all of your "
            f"recordings are such, pass rate={facts.framerate}, in training, too."
        )
    if facts.nchannels != 1 or facts.sampwidth != 2:
        raise ValueError(
            "Expected a wav file of one channel and 16 bits. Received: "
            f"{facts.nchannels} channels of {8 * facts.sampwidth} bits in {path}. Convert it "
            "(`sox in.wav -c 1 -b 16 out.wav`)."
        )
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _as_samples(sound):
    samples = np.asarray(sound)
    if samples.ndim == 0 or samples.dtype.kind != "f":
        raise ValueError(
            "Expected the path of a wav file, or an array of floats in -1..1, [..., samples]. "
            f"Received: an array of shape {samples.shape} and dtype {samples.dtype}. Samples of 16 "
            "bits: pass sound / 32768."
        )
    return samples.astype(np.float32)


def _of_length(samples, length):
    """Cut around the middle, or zeros behind."""
    more = samples.shape[-1] - length
    if more >= 0:
        return samples[..., more // 2 : more // 2 + length]
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, -more)])
