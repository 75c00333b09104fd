"""Figures: pure functions of Arrow tables. Each gives a plotly figure, or says why there is nothing to draw.

None holds more than a few thousand points: of more, a sample is drawn with a fixed seed, and the figure says so.
"""
