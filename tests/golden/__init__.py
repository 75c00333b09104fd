"""Golden numbers that lie in the repository: what the losses and metrics compute from small inputs.

`losses.json` holds the inputs and, for each function, the sum and the count of its Mean, computed by the loops of
`naive.py`: plain Python in double precision, which shares no code with the functions. Tests read it and never write it;
`python -m tests.golden.write` does.
"""

ITERATIONS = 20
"""Length of the training whose stages the weightings are in."""
