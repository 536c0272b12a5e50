"""The application that the commands are added to, and the exit code of each error."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from tfnorm._version import __version__
from tfnorm.cli._streams import any_surroundings, say
from tfnorm.datasets import DataWarning
from tfnorm.errors import FailedRunsError, TfnormError, disk_sentence

app = typer.Typer(
    name="tfnorm",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Find out which normalization and which regularization a convolutional network should use.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    warnings.filterwarnings("ignore", category=DataWarning)  # the commands say the same sentences themselves
    if version:
        typer.echo(f"tfnorm {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Bad input prints one sentence and exits with 2, a failing disk with 1."""
    with any_surroundings():
        try:
            app(standalone_mode=True, obj=sys.argv[1:])
        except TfnormError as error:
            say("\n".join(f"tfnorm: {line}" for line in str(error).splitlines()))
            raise SystemExit(1 if isinstance(error, FailedRunsError) else 2) from None
        except MemoryError as error:
            reason = f" ({error})" if str(error) else ""
            say(
                f"tfnorm: Memory ran out{reason}. Use fewer or smaller images (--image-size), smaller batches "
                "(--batch-size), or free some memory."
            )
            raise SystemExit(2) from None
        except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
            raise SystemExit(1) from None
        except OSError as error:
            say(f"tfnorm: {disk_sentence(error)}")
            raise SystemExit(1) from None
