"""The figure of what a mask lets count of each class while a trial trains."""

from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from analysis.figures.style import TEXT, figure
from analysis.figures.training import Trial

CLASSES = 20
"""Of more classes the largest are drawn, and the figure says so."""
WHAT = {
    "tfe": ("mean TFE weight of the labelled pixels of each class", "mean weight (%)"),
    "tse": ("share of each class's labelled pixels that TSE kept", "kept (%)"),
    "ohem": ("share of each class's labelled pixels that OHEM kept", "kept (%)"),
}


def mask_share_curves(rows: pa.Table, mask: str, trial: Trial, colours: Mapping[str, str]) -> go.Figure:
    """A line for each class, and one for all of them.

    Args:
        rows: iteration, class, kept_pixels, valid_pixels and share_percent of one mask.
        mask: its name.
        trial: whose.
        colours: of the classes.
    """
    sums = [("valid_pixels", "sum"), ("kept_pixels", "sum")]
    by_class = rows.group_by("class").aggregate(sums).sort_by([("valid_pixels_sum", "descending")])
    drawn = by_class["class"].to_pylist()[:CLASSES]
    said, unit = WHAT.get(mask, (f"share that {mask} kept", "kept (%)"))
    part = f", the {CLASSES} largest of {by_class.num_rows} classes" if by_class.num_rows > CLASSES else ""
    shown = figure(f"{trial[0]} {trial[1]}: {said}{part}", "iteration", unit)
    for name in (name for name in colours if name in drawn):
        mine = rows.filter(pc.field("class") == name).sort_by("iteration")
        shown.add_trace(_line(name, mine["iteration"], mine["share_percent"], colours[name], 1.8))
    whole = rows.group_by("iteration").aggregate(sums).sort_by("iteration")
    shares = pc.multiply(pc.divide(whole["kept_pixels_sum"], pc.cast(whole["valid_pixels_sum"], pa.float64())), 100.0)
    shown.add_trace(_line("all classes", whole["iteration"], shares, TEXT, 3.0))
    return shown.update_yaxes(range=[0, 102])


def _line(name: str, x: pa.ChunkedArray, y: pa.ChunkedArray, colour: str, width: float) -> go.Scatter:
    return go.Scatter(
        x=x.to_pylist(),
        y=y.to_pylist(),
        mode="lines+markers",
        name=escape(name),
        line={"color": colour, "width": width},
        marker={"size": 5},
        hovertemplate=f"{escape(name)}, iteration %{{x}}: %{{y:.1f}} %<extra></extra>",
    )
