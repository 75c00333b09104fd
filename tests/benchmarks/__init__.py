"""Speed, memory and error rates: no tests, but what `make bench` runs.

`losses` measures every term of the loss, and those that have a bar beside a plain implementation of the same; `step`
measures what RDD adds to a whole training step; `reading` measures how fast images are read, beside plain OpenCV;
`tables` measures what questions to the tables of 10,000 trials take; `verdicts` measures how often verdicts are wrong
on studies whose truth is known. Each prints what it finds and writes it to a JSON file. `pooling`, run by itself, shows
why a verdict pools the noise of seeds as it does.
"""
