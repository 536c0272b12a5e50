"""The pictures: for each, ``x_data`` says what is drawn and ``plot_x`` draws it."""
