"""`python -m pyproxy` is the `pyproxy` command."""

from pyproxy.server.cli import main

if __name__ == "__main__":
    main()
