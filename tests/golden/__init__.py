"""Golden numbers that lie in the repository: what the losses and metrics compute from small inputs, and a loss curve.

`losses.json` holds the inputs and, for each function, the sum and the count of its Mean, computed by the loops of
`naive.py`: plain Python in double precision, which shares no code with the functions. `curve.json` holds the losses of
the training in `training.py`, iteration by iteration, as computed when it was committed. Tests read these files and
never write them; `python -m tests.golden.write` does.
"""

ITERATIONS = 20
"""Length of the training whose stages the weightings are in."""
