"""The application, which the commands are added to, and what becomes of an error."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from tfnorm._version import __version__
from tfnorm.cli._streams import any_surroundings, say
from tfnorm.errors import FailedRunsError, TfnormError, disk_sentence, unknown
from tfnorm.training.origin import BACKENDS

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
    if version:
        typer.echo(f"tfnorm {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: exit code 2 and one sentence on bad input, 1 on a failing disk."""
    with any_surroundings():
        _run()


def _run() -> None:
    try:
        app(standalone_mode=True)
    except TfnormError as error:
        say("\n".join(f"tfnorm: {line}" for line in str(error).splitlines()))
        raise SystemExit(1 if isinstance(error, FailedRunsError) else 2) from None
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        raise SystemExit(1) from None
    except OSError as error:
        say(f"tfnorm: {disk_sentence(error)}")
        raise SystemExit(1) from None
    except (ImportError, ValueError) as error:
        if sentence := _about_backend(error):
            say(f"tfnorm: {sentence}")
            raise SystemExit(2) from None
        raise


def _about_backend(error: Exception) -> str | None:
    """Return what is wrong with KERAS_BACKEND, if that is why Keras could not be imported."""
    asked = os.environ.get("KERAS_BACKEND", "")
    if asked and isinstance(error, ImportError) and error.name == asked:
        return f"KERAS_BACKEND asks for {asked!r}, which is not installed. Install it, or leave the variable unset."
    if str(error).startswith("Unable to import backend"):
        return unknown("KERAS_BACKEND", asked, BACKENDS)
    return None
