"""What a comparison is asked for."""

import numpy as np
import pytest
from facts import says

from tfnorm.errors import TfnormError
from tfnorm.experiments.plan import configurations
from tfnorm.training.trainer import train


@pytest.mark.parametrize("seeds", [2, np.int64(2), [0, 1], np.arange(2), range(2)], ids=repr)
def test_seeds_are_a_number_or_numbers(seeds):
    assert [config.seed for config in configurations("bn", seeds=seeds)] == [0, 1]


@pytest.mark.parametrize("seeds", [0, None, 1.5, 2.0, "2", True])
def test_other_seeds_are_refused(seeds):
    with pytest.raises(TfnormError) as error:
        configurations("bn", seeds=seeds)
    says(error, "list of seeds", f"seeds={seeds!r}")


def test_a_run_is_asked_for_by_a_spec_or_a_configuration():
    with pytest.raises(TfnormError, match="norm spec .*'gn:4'.* 3"):
        train(3)
