import numpy as np
import pandas as pd
import pytest
from facts import says

from tfnorm.errors import RunError
from tfnorm.reporting import activations_data, plot_activations


def records(names=("conv1_norm", "conv2_norm"), epochs=(0, 1, 2), relu="after", growth=1.0):
    return [
        {
            "epochs": epoch,
            "layer": name,
            "kind": "BatchNormalization",
            "relu": relu,
            "before_mean": 0.5 * epoch,
            "before_std": (1.0 + number) * growth**epoch,
            "before_dead": 0.25 * number,
            "after_mean": 0.0,
            "after_std": 1.0,
            "after_dead": 0.0 if relu == "after" else None,
        }
        for epoch in epochs
        for number, name in enumerate(names)
    ]


def values(data, layer, side, measure):
    curve = data.curves.query("layer == @layer and side == @side and measure == @measure")
    return list(zip(curve["epochs"], curve["value"], strict=True))


def test_curves_are_those_of_the_records():
    data = activations_data(records())
    assert data.layers == ("conv1_norm", "conv2_norm") and not data.log
    assert values(data, "conv2_norm", "before", "std") == [(0, 2.0), (1, 2.0), (2, 2.0)]
    assert values(data, "conv1_norm", "before", "mean") == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert values(data, "conv2_norm", "before", "dead") == [(0, 25.0), (1, 25.0), (2, 25.0)]
    assert values(data, "conv1_norm", "after", "dead") == [(0, 0.0), (1, 0.0), (2, 0.0)]
    assert len(data.curves) == 2 * 3 * 6
    pd.testing.assert_frame_equal(activations_data(pd.DataFrame(records())).curves, data.curves)


def test_what_is_not_known_is_not_drawn():
    data = activations_data(records(relu="before"), ["conv2_norm"])
    assert data.layers == ("conv2_norm",) and values(data, "conv2_norm", "after", "dead") == []
    lost = records()
    lost[-1]["before_std"] = None
    assert [epoch for epoch, _ in values(activations_data(lost), "conv2_norm", "before", "std")] == [0, 1]


def test_standard_deviations_over_decades_have_a_logarithmic_axis():
    assert activations_data(records(growth=10.0)).log
    still = records()
    still[0]["before_std"] = 0.0
    assert not activations_data(still).log


def test_a_picture(tmp_path):
    figure = plot_activations(records(), title="Norms", path=tmp_path / "activations.png")
    assert (tmp_path / "activations.png").stat().st_size > 5000
    assert len(figure.axes) == 6
    before, after = figure.axes[2:4]
    assert [line.get_ydata().tolist() for line in before.lines] == [[1, 1, 1], [2, 2, 2]]
    assert [line.get_ydata().tolist() for line in after.lines] == [[1, 1, 1], [1, 1, 1]]
    assert before.get_ylim() == after.get_ylim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["conv1_norm", "conv2_norm"]
    assert figure.axes[0].get_title(loc="left") == "before the norm"
    assert figure.axes[4].get_ylabel() == "dead channels (%)"


def test_a_model_whose_relus_come_before_its_norms():
    figure = plot_activations(records(relu="before"))
    assert [text.get_text() for text in figure.axes[5].texts] == ["no ReLU follows"]
    none = [{**record, "before_dead": None, "after_dead": None} for record in records(relu=None)]
    assert len(plot_activations(none).axes) == 4


def test_of_many_layers_the_legend_names_eight():
    figure = plot_activations(records(names=[f"norm{i}" for i in range(20)]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == 8 and names[0] == "norm0" and names[-1] == "norm19"
    assert len(figure.axes[0].lines) == 20
    assert len({tuple(np.round(line.get_color(), 6)) for line in figure.axes[0].lines}) == 20


def test_mistakes_have_their_sentence():
    with pytest.raises(RunError) as caught:
        plot_activations([])
    says(caught, "no activation statistics", "model.fit")
    nothing = [{**record, "before_mean": None, "before_std": None, "after_mean": None, "after_std": None,
                "before_dead": None, "after_dead": None} for record in records()]  # fmt: skip
    for given, layers in ((nothing, None), (records(), [])):
        with pytest.raises(RunError) as caught:
            plot_activations(given, layers)
        says(caught, "no layer", "finite")
    with pytest.raises(RunError) as caught:
        activations_data(records(), ["conv1"])
    says(caught, "'conv1'", "'conv1_norm'", "conv1_norm, conv2_norm")
