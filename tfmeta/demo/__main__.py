"""`tfmeta-draw`: a page on which one draws characters, and a network tells them apart."""

import argparse
import sys
import webbrowser


def main(arguments=None):
    """Serve the page until a signal ends it."""
    parser = argparse.ArgumentParser(prog="tfmeta-draw", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine alone")
    parser.add_argument("--port", type=int, default=8502, help="0: any that is free")
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    options = parser.parse_args(arguments)
    from tfmeta.demo.web import server  # takes seconds: --help does not

    try:
        serving = server(options.host, options.port)
    except (ImportError, OSError) as error:
        sys.exit(f"{error}")
    address = f"http://{options.host}:{serving.effective_port}/"
    print(f"Draw at {address}  (Ctrl-C ends it)", flush=True)
    if options.open:
        webbrowser.open(address)
    try:
        serving.run()
    except KeyboardInterrupt:
        serving.close()


if __name__ == "__main__":
    main()
