"""What the command line prints."""

import math

from tfnorm.show import print_table


def test_a_spec_that_diverged_has_dashes_and_one_seed_no_deviation(fake_comparison, tmp_path, capsys):
    found = fake_comparison(tmp_path, {"bn": [0.9, 0.8], "gn:2": [0.7], "ln": [math.nan, math.nan]})
    print_table(found)
    lines = capsys.readouterr().out.splitlines()
    bn, gn, ln = (next(line for line in lines if f"│ {spec}" in line) for spec in ("bn", "gn:2", "ln (2 diverged)"))
    assert "85.00 ± 7.07" in bn and "70.00 │" in gn
    assert ln.count(" – ") == 4 and "nan" not in ln and "±" not in ln
