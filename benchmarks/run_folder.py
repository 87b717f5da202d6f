"""A training's folder: whatever moment it is killed at, the next run goes on from a whole epoch.

    now/            what the running process works in: Keras's backup, best weights, the curve
    epoch-12/       now/, as it was when epoch 12 was through: whole, because it was renamed
    settings.txt    what the training was made with
    result.json     of a finished training

Keras's `BackupAndRestore` writes weights and epoch one after the other: a process that is killed
between them goes on from weights of one epoch and the number of another. So a copy of both, and of
what belongs to them, is made under another name, and renamed when it is complete.
"""

import json
import os
import pathlib
import shutil


class RunFolder:
    """The folder of one training.

    Args:
        path: the folder, made if it is not there.
        settings: a text; a folder of another text is refused.

    Raises:
        ValueError: the folder holds a training with other settings.
    """

    def __init__(self, path, settings):
        self.path = pathlib.Path(path)
        self.now, self.result = self.path / "now", self.path / "result.json"
        self.path.mkdir(parents=True, exist_ok=True)
        note = self.path / "settings.txt"
        if note.exists() and note.read_text() != settings:
            raise ValueError(
                f"Expected {self.path} to hold a training with today's settings. Received: one "
                f"with {note.read_text()}. Move it away, or give another --folder."
            )
        write_whole(note, settings)

    def restore(self):
        """Make now/ what it was after the last whole epoch."""
        shutil.rmtree(self.now, ignore_errors=True)
        for part in self.path.glob("*.part"):
            shutil.rmtree(part)
        epochs = whole_epochs(self.path)
        if epochs:
            shutil.copytree(epochs[-1], self.now)
        else:
            self.now.mkdir()

    def keep(self, epoch):
        """Make a whole copy of now/, and remove the older ones."""
        older, part = whole_epochs(self.path), self.path / "epoch.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.now, part)
        part.rename(self.path / f"epoch-{epoch}")
        for folder in older:
            shutil.rmtree(folder)


def whole_epochs(path):
    """The whole copies in a folder, the last one last."""
    found = [p for p in pathlib.Path(path).glob("epoch-*") if p.name[6:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[6:]))


def seen(path):
    """What a training has written: its result, else its last whole state; None if neither."""
    path = pathlib.Path(path)
    if (path / "result.json").exists():
        return json.loads((path / "result.json").read_text())
    epochs = whole_epochs(path)
    return json.loads((epochs[-1] / "watch.json").read_text()) if epochs else None


def write_whole(path, text):
    """Write a file so that nobody finds half of it."""
    part = path.with_name(path.name + ".new")
    part.write_text(text)
    os.replace(part, path)
