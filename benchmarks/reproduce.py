"""Train to a paper's protocol, and print its number beside the one that comes out.

    python -m benchmarks.reproduce --list             # rows: papers, protocols, what differs here
    python -m benchmarks.reproduce ROW [--seed 0] [--part 0.1] [--hours 2] [--data-dir DIR]
        [--folder DIR]
    python -m benchmarks.reproduce --table            # trains nothing: figures of all the folders

A row trains by `fit` for as long as its settings say (at most 5 hours of two cores, `--list` says
how long), scores itself on validation classes on the way, and takes the test with the weights that
were best there, once. It may be killed at any moment: the same command goes on from the last score
on validation. `--part 0.1` takes a tenth of the outer steps and of the time, schedules included;
`--hours 2` ends the same training after so much CPU time, and tests what there is: with more hours,
or none, the same command goes on from there, and tests again. Omniglot comes from
tensorflow-datasets (`--data-dir`, or TFMETA_TFDS_DIR, or its own folder).

Writes benchmarks/results/reproduce.json, with the state of every training in the folder, and
reproduce.png; `python -m benchmarks.write_readme` puts the table into the page.
"""

import argparse
import json
import os
import pathlib
import textwrap

from benchmarks import reproduce_report
from benchmarks.papers import GRADIENT_ROWS, SINUSOID_ROWS
from benchmarks.papers_images import IMAGE_ROWS
from benchmarks.papers_sequences import SEQUENCE_ROWS
from benchmarks.run_folder import RunFolder, seen, write_whole

RESULTS = pathlib.Path(__file__).parent / "results" / "reproduce.json"
ROWS = GRADIENT_ROWS | SINUSOID_ROWS | IMAGE_ROWS | SEQUENCE_ROWS


def described(name):
    """What `--list` says of a row."""
    row = ROWS[name]
    training = row.training
    numbers = [
        f"{test.name}: published {_number(test.published)}, to be reached {_number(test.reach)}, "
        f"{test.episodes:,} test episodes"
        for test in row.tests
    ]
    parts = [
        row.paper,
        f"Protocol: {row.protocol}",
        f"Source: {row.source}",
        f"Here: {row.differs}",
        f"Settings: {training.learner} {training.arguments}, {training.steps:,} outer steps of "
        f"{training.tasks} tasks, {' '.join(map(str, training.outer))}, at most "
        f"{training.cpu_hours:g} h of CPU",
        *numbers,
    ]
    wrap = textwrap.TextWrapper(width=100, initial_indent="  ", subsequent_indent="    ")
    return "\n".join([name, *(wrap.fill(part) for part in parts)])


def _number(value):
    return "-" if value is None else f"{value:g}"


def folder_of(options):
    """The folder of the training that is asked for."""
    part = "" if options.part == 1 else f".part-{options.part:g}"
    return options.folder / f"{options.row}.seed-{options.seed}{part}"


def train(options):
    """Train a row, or go on; its result is in its folder afterwards."""
    # Here: it brings TensorFlow with it, which the list and the table do not need.
    from benchmarks import paper_training

    row = ROWS[options.row]
    training = row.training.part(options.part)
    folder = RunFolder(folder_of(options), repr(training))
    hours = min(training.cpu_hours, options.hours or training.cpu_hours)
    before = seen(folder.path) if folder.result.exists() else None
    if before is not None and paper_training.ended(before, training.steps, hours):
        print(f"{folder.path} is finished already")
        return
    title = f"{options.row}, seed {options.seed}"
    result = paper_training.run(row, training, folder, options.seed, options.data_dir, title, hours)
    result |= {"row": options.row, "part": options.part, "differs": row.differs}
    write_whole(folder.result, json.dumps(result, indent=1))


def collected(folder, before):
    """The results, with the state of every training in a folder in the place of what was said."""
    results = {name: dict(runs) for name, runs in before.items() if name in ROWS}
    for path in sorted(folder.glob("*.seed-*")):
        row, _, run = path.name.partition(".seed-")
        found = seen(path)
        if row not in ROWS or found is None:
            continue
        part = float(run.partition(".part-")[2] or 1)
        settings = repr(ROWS[row].training.part(part))
        if (path / "settings.txt").read_text() == settings:
            seed = int(run.partition(".")[0])
            found |= {"seed": seed, "part": part, "settings": settings}
            results.setdefault(row, {})[run] = found | _compared(ROWS[row], found)
        else:
            print(f"{path}: of other settings than today's, left out")
    return {name: results[name] for name in ROWS if name in results}


def _compared(row, found):
    """The published numbers, and how far the scores are from them, in the units of the papers."""
    published = {test.name: test.published for test in row.tests}
    scale = 1 if row.training.family == "sinusoid" else 100
    return {
        "published": published,
        "differences": {
            name: scale * score[0] - published[name]
            for name, score in found.get("scores", {}).items()
            if published.get(name) is not None
        },
        "differs": row.differs,
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", nargs="?", choices=ROWS, metavar="ROW", help="see --list")
    parser.add_argument("--list", action="store_true", help="rows, or the one ROW, in words")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=float, default=1.0, help="of the steps and the time")
    parser.add_argument("--hours", type=float, help="of CPU, at most the row's")
    parser.add_argument("--data-dir", default=os.environ.get("TFMETA_TFDS_DIR"))
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("outputs/reproduce"))
    options = parser.parse_args()
    if not 0 < options.part <= 1:
        parser.error(f"--part: expected a share above 0 and up to 1, received {options.part}")
    if options.hours is not None and not options.hours > 0:
        parser.error(f"--hours: expected more than 0, received {options.hours}")
    if not (options.row or options.list or options.table):
        parser.error("expected a ROW, --list or --table")
    return options


def main():
    options = parse()
    if options.list:
        print("\n\n".join(described(name) for name in ([options.row] if options.row else ROWS)))
        return
    if options.row:
        train(options)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = collected(options.folder, before)
    write_whole(RESULTS, json.dumps(results, indent=1) + "\n")
    shown = {options.row: ROWS[options.row]} if options.row else ROWS
    print(reproduce_report.table(shown, results))
    reproduce_report.plot(ROWS, results, RESULTS.with_suffix(".png"))


if __name__ == "__main__":
    main()
