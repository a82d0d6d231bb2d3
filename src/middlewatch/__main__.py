"""`python -m middlewatch` is `mw`."""

from .cli import main

if __name__ == "__main__":
    main()
