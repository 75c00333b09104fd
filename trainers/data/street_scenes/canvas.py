"""The canvas of a street: projection by a pinhole camera, and shapes that are drawn into image and label at once.

Scene coordinates are X to the right of the camera, Y up from the ground and Z ahead, in metres. Pixels have four
channels, red, green, blue and class, so that one call of OpenCV draws a shape into image and label alike, and
occlusion is nothing but the order of the calls. Nothing here knows what a street looks like.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trainers.data import Array
from trainers.data.street_scenes.palettes import Colour

Point = tuple[float, float, float]
Corners = NDArray[np.int32]
"""Corners [N, 2] of a polygon, in canvas pixels (column, row)."""

SUPERSAMPLING = 2
"""Canvas pixels per image pixel and axis; smooth outlines and parts thinner than a pixel come from it."""


class Canvas:
    """Image and label in drawing, as one camera projects the scene.

    Args:
        height: of the image to be, in pixels; the canvas is SUPERSAMPLING times as large.
        width: the same.
        focal: focal length, in image heights.
        centre: where the vanishing point lies, as shares (across, down) of the image.
        eye: height of the camera above the ground, in metres.
    """

    def __init__(self, height: int, width: int, *, focal: float, centre: tuple[float, float], eye: float) -> None:
        self.pixels: Array = np.zeros((SUPERSAMPLING * height, SUPERSAMPLING * width, 4), np.uint8)
        self.focal = focal * self.pixels.shape[0]
        self.column = centre[0] * self.pixels.shape[1]
        self.horizon = centre[1] * self.pixels.shape[0]
        self.eye = eye

    def at(self, x: float, y: float, z: float) -> tuple[int, int]:
        """The pixel (column, row) that shows a point; z must be above 0."""
        scale = self.focal / z
        return round(self.column + scale * x), round(self.horizon + scale * (self.eye - y))

    def reach(self, z: float) -> tuple[float, float]:
        """X of the left and of the right image border at depth z."""
        metres = z / self.focal
        return -self.column * metres, (self.pixels.shape[1] - self.column) * metres

    def polygon(self, points: Sequence[Point], colour: Colour, label: int) -> None:
        """Fill a convex polygon; its corners are scene coordinates."""
        cv2.fillConvexPoly(self.pixels, self._corners(points), (*colour, label))

    def grid(self, start: Point, end: Point, columns: NDArray[np.float64], rows: NDArray[np.float64]) -> list[Corners]:
        """Where the cells of a grid on an upright wall lie, for `fill`.

        Args:
            start: foot of the wall at one end.
            end: its foot at the other end.
            columns: [N, 2], from and to, as shares of the way from start to end.
            rows: [M, 2], from and to, in metres above the ground.

        Returns:
            N * M quadrilaterals.
        """
        scale = self.focal / (start[2] + (end[2] - start[2]) * columns)
        across = self.column + scale * (start[0] + (end[0] - start[0]) * columns)
        down = self.horizon + scale[:, None, :, None] * (self.eye - rows[:, None])
        corners = np.empty((len(columns), len(rows), 4, 2))
        corners[..., 0] = across[:, None, [0, 1, 1, 0]]
        corners[..., :2, 1] = down[..., 0]
        corners[..., 2:, 1] = down[..., ::-1, 1]
        return list(np.rint(corners.reshape(-1, 4, 2)).astype(np.int32))

    def fill(self, polygons: Sequence[Corners], colour: Colour, label: int) -> None:
        """Fill polygons of one colour that do not overlap."""
        if polygons:
            cv2.fillPoly(self.pixels, polygons, (*colour, label))

    def rectangle(self, x: tuple[float, float], y: tuple[float, float], z: float, colour: Colour, label: int) -> None:
        """Fill an upright rectangle parallel to the image plane, at least one image pixel wide; x and y in metres."""
        left, bottom = self.at(x[0], y[0], z)
        right, top = self.at(x[1], y[1], z)
        right = max(right - 1, left + SUPERSAMPLING - 1)
        cv2.rectangle(self.pixels, (left, bottom), (right, top), (*colour, label), cv2.FILLED)

    def disc(self, centre: Point, radius: float, colour: Colour, label: int) -> None:
        """Fill a circle parallel to the image plane; radius in metres."""
        extent = round(radius * self.focal / centre[2])
        cv2.circle(self.pixels, self.at(*centre), extent, (*colour, label), cv2.FILLED)

    def wheel(self, hub: Point, radius: float, colour: Colour, label: int) -> None:
        """Fill a circle in a vertical plane along the street, which projects to an ellipse; radius in metres."""
        x, _, z = hub
        scale = self.focal / z
        axes = round(radius * scale * (0.3 + 1.5 * abs(x) / z)), round(radius * scale)
        cv2.ellipse(self.pixels, self.at(*hub), axes, 0, 0, 360, (*colour, label), cv2.FILLED)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour, label: int) -> None:
        """Draw the outline of a circle parallel to the image plane; radius and line width in metres."""
        scale = self.focal / centre[2]
        thickness = max(round(width * scale), 1)
        place = self.at(*centre)
        cv2.circle(self.pixels, place, round(radius * scale), (*colour, label), thickness)

    def bar(self, start: Point, end: Point, width: float, colour: Colour, label: int) -> None:
        """Draw a line of `width` metres, at least one canvas pixel wide."""
        thickness = max(round(width * self.focal / start[2]), 1)
        cv2.line(self.pixels, self.at(*start), self.at(*end), (*colour, label), thickness)

    def relabel(self, points: Sequence[Point], label: int) -> None:
        """Change the class of a convex polygon but not its colours: background between the rails of a fence."""
        corners = self._corners(points)
        left, top = np.maximum(corners.min(axis=0), 0).tolist()
        right, bottom = (np.maximum(corners.max(axis=0), -1) + 1).tolist()
        window = self.pixels[top:bottom, left:right]
        colours = window[..., :3].copy()
        cv2.fillConvexPoly(self.pixels, corners, (0, 0, 0, label))
        window[..., :3] = colours

    def _corners(self, points: Sequence[Point]) -> Corners:
        return np.array([self.at(*point) for point in points], np.int32)
