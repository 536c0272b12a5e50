"""What is stored in the notebooks; `pytest --nbmake notebooks` executes them."""

import json
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = [
    "01_quickstart",
    "02_mnist_gn_ln_l1bn",
    "03_batch_size",
    "04_convert_and_inspect",
    "05_from_tensorflow_addons",
    "06_your_network",
]
# Home folders, temporary ones and installed packages, as they would stand in a message or a traceback.
MACHINE = re.compile(r"/(home|root|tmp|work|mnt|Users|content|usr|opt|var)/|site-packages|[A-Z]:\\\\|\.venv")
ADDRESS = "https://colab.research.google.com/github/OWNER/NAME/blob/main/notebooks"


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def test_these_are_all_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    assert all(f"]({name}.ipynb)" in (FOLDER / "README.md").read_text() for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_valid_small_and_opens_anywhere(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_notebook_begins_with_its_badge_and_an_installation_that_a_clone_does_not_need(name):
    title, install, *_ = read(name).cells
    assert title.source.startswith("# ")
    assert f"({ADDRESS}/{name}.ipynb)" in title.source
    assert install.source.startswith("try:\n    import tfnorm\nexcept ImportError:")
    assert "    %pip install --quiet git+REPOSITORY\n" in install.source


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_are_those_of_one_execution_with_full_settings(name):
    cells = code(read(name))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    printed = [output.text for output in outputs(read(name)) if output.output_type == "stream"]
    assert [text for text in printed if text.startswith("full settings: ")]
    silent = [cell.source for cell in cells[2:] if not cell.outputs]
    assert len(silent) < len(cells) / 4


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_have_no_errors_no_messages_and_no_places_of_a_machine(name):
    found = outputs(read(name))
    assert {output.output_type for output in found} <= {"stream", "display_data", "execute_result"}
    assert {output.name for output in found if output.output_type == "stream"} <= {"stdout"}
    texts = [json.dumps({**output, "data": text_data(output)}) for output in found]
    assert not [text for text in texts if MACHINE.search(text)]
    assert not [text for text in texts if "\\u001b" in text or "WARNING" in text]


def text_data(output):
    """Return what an output shows other than pictures."""
    return {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name):
    sources = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", sources) if not target.startswith("http")]
    assert not [target for target in targets if not (FOLDER / target).exists()]


def test_every_notebook_has_a_picture_or_a_table():
    for name in NAMES:
        kinds = {kind for output in outputs(read(name)) for kind in output.get("data", {})}
        assert kinds & {"image/png", "text/html"}, name
