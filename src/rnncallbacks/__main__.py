"""``python -m rnncallbacks``: the command line."""

from rnncallbacks.cli import main

if __name__ == "__main__":
    main()
