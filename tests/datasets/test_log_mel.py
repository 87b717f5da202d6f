"""log_mel: against NumPy, from wav files, and what is refused."""

import wave

import numpy as np
import pytest

from tfmeta.datasets import log_mel


def write(path, samples, rate=16000, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return path


def noise(length=16000, *shape):
    return np.random.default_rng(0).uniform(-0.5, 0.5, (*shape, length)).astype("float32")


def mel(hertz):
    return 1127.0 * np.log(1.0 + hertz / 700.0)


def by_hand(samples):
    """Each window and each triangle on the mel axis by itself, in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    edges = np.linspace(mel(20.0), mel(7600.0), 42)
    at = mel(np.arange(257) * 16000 / 512)
    frames = []
    for start in range(0, len(samples) - 399, 160):
        power = np.abs(np.fft.rfft(samples[start : start + 400] * window, 512)) ** 2
        row = []
        for low, top, high in zip(edges[:-2], edges[1:-1], edges[2:], strict=True):
            weight = np.maximum(0, np.minimum((at - low) / (top - low), (high - at) / (high - top)))
            row.append(power[1:] @ weight[1:])
        frames.append(np.log(np.array(row) + 1e-6))
    return np.array(frames)


def test_features_are_those_of_numpy():
    samples = noise()
    found = log_mel(samples)
    assert found.shape == (98, 40)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(samples.astype("float64")), atol=2e-3)


def test_a_file_is_its_samples(tmp_path):
    samples = noise()
    path = write(tmp_path / "noise.wav", samples)
    np.testing.assert_allclose(log_mel(path), log_mel(samples), atol=0.02)  # 16 bits
    np.testing.assert_array_equal(log_mel(str(path)), log_mel(path))


def test_recordings_have_one_length():
    samples = noise(20000, 2)
    np.testing.assert_array_equal(log_mel(samples)[1], log_mel(samples[1, 2000:18000]))
    short = log_mel(samples[0, :8000])
    np.testing.assert_allclose(short[:48], log_mel(samples[0, :8000], seconds=None)[:48], rtol=1e-5)
    np.testing.assert_allclose(short[50:], np.log(1e-6), rtol=1e-6)  # silence
    assert log_mel(samples[:, :4000], 8000, frequencies=(60, 3800), bands=20).shape == (2, 98, 20)


def test_bad_files(tmp_path):
    path = write(tmp_path / "slow.wav", noise(8000), rate=8000)
    with pytest.raises(ValueError, match=r"16000 samples a second\. Received: 8000 in .*slow\.wav"):
        log_mel(path)
    with pytest.raises(ValueError, match=r"one channel and 16 bits\. Received: 2 channels of 16"):
        log_mel(write(tmp_path / "stereo.wav", noise(), channels=2))
    (tmp_path / "text.wav").write_bytes(b"no sound at all, but long enough to be read")
    with pytest.raises(ValueError, match=r"Expected a wav file of 16 bits\. Received: .*text\.wav"):
        log_mel(tmp_path / "text.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Expected a wav file.*Received: .*empty\.wav"):
        log_mel(tmp_path / "empty.wav")
    with pytest.raises(FileNotFoundError):
        log_mel(tmp_path / "none.wav")


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"floats in -1\.\.1.*dtype int16.*sound / 32768"):
        log_mel(np.zeros(16000, "int16"))
    with pytest.raises(ValueError, match=r"high <= 4000, half the rate\. Received: \(20.0, 7600.0"):
        log_mel(noise(), 8000)
    with pytest.raises(ValueError, match=r"fft_length to be at least 400.*Received: 256"):
        log_mel(noise(), fft_length=256)
    with pytest.raises(ValueError, match=r"at least 400 samples, one window of 0\.025 s"):
        log_mel(noise(100), seconds=None)
    with pytest.raises(ValueError, match=r"Expected rate > 0"):
        log_mel(noise(), 0)
