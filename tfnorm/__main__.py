"""``python -m tfnorm``."""

from tfnorm.cli import main

if __name__ == "__main__":
    main()
