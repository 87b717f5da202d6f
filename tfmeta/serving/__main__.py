"""`python -m tfmeta.serving FOLDER`: serve an exported learner over HTTP."""

import argparse
import sys

from tfmeta.serving import Limits, server


def main(arguments=None):
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tfmeta.serving", description=__doc__)
    parser.add_argument("folder", help="what learner.export(folder) wrote")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine alone")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--name", default="learner", help="of the model in the addresses")
    for name, value in Limits()._asdict().items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(value), default=value, help=f"{value:g} by default")
    options = vars(parser.parse_args(arguments))
    limits = Limits(**{name: options.pop(name) for name in Limits._fields})
    try:
        serving = server(options.pop("folder"), limits=limits, **options)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"{error}")
    address = f"{options['host']}:{serving.effective_port}"
    print(f"http://{address}/v1/models/{options['name']}", flush=True)
    serving.run()


if __name__ == "__main__":
    main()
