"""The slow tests, all of them, in one go that fits memory: `make slow`.

    python tools/slow_tests.py [arguments of pytest]

TensorFlow keeps some of what it traced and compiled for as long as a process lives, 70 MiB a slow
test. So pytest is started anew after each `TESTS`; parts with failures are named at the end.
"""

import subprocess
import sys

TESTS = 60


def pytest(*arguments, **options):
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "slow", *arguments], **options)


def names_of_tests(arguments):
    """Of the slow tests that pytest finds with these arguments, in its order."""
    # The verbosity last, whatever the arguments say: with two "-q" pytest counts and names no test.
    how = ["--collect-only", *arguments, "--verbosity=-1"]
    found = pytest(*how, capture_output=True, text=True)
    names = [line for line in found.stdout.splitlines() if "::" in line]
    if found.returncode or not names:
        sys.exit(found.stdout + found.stderr)
    return names


def main(arguments):
    # Paths say which tests there are; the other arguments go to each run.
    paths = [a for a in arguments if a.startswith("tests")]
    options = [a for a in arguments if a not in paths]
    names = names_of_tests(arguments)
    failed = []
    for first in range(0, len(names), TESTS):
        part = names[first : first + TESTS]
        print(f"Tests {first + 1} to {first + len(part)} of {len(names)}", flush=True)
        if pytest("-n", "2", *options, *part).returncode:
            failed.append(first + 1)
    print(f"{len(names)} slow tests, {'all passed' if not failed else 'FAILED'}")
    if failed:
        sys.exit(
            f"Failures are above, in the parts that begin at test {', '.join(map(str, failed))}."
        )


if __name__ == "__main__":
    main(sys.argv[1:])
