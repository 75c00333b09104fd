"""The published formulas, one loop after another in plain Python floats. Each returns (total, count) of its `Mean`."""

import math
from collections.abc import Callable, Iterator
from typing import Any

IGNORE = 255

Map = list[list[float]]
"""[h, w]"""
Maps = list[list[Map]]
"""[B, C, h, w]"""
Labels = list[list[list[int]]]
"""[B, H, W]"""
Sum = tuple[float, float]


def softmax(scores: list[float], temperature: float = 1.0) -> list[float]:
    peak = max(scores)
    powers = [math.exp((score - peak) / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def kl(first: list[float], second: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True))


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value**2 for value in vector))
    return [value / length if length else 0.0 for value in vector]


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def squares(one: list[float], other: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


def flat(channel: Map) -> list[float]:
    return [value for row in channel for value in row]


def pixels(image: list[Map]) -> list[list[float]]:
    """The channel vector of every position, row by row."""
    return [list(vector) for vector in zip(*(flat(channel) for channel in image), strict=True)]


def resized(labels: list[list[int]], height: int, width: int) -> list[int]:
    """Nearest labels at another size, row by row."""
    rows, columns = len(labels), len(labels[0])
    return [labels[y * rows // height][x * columns // width] for y in range(height) for x in range(width)]


def enlarged(channel: Map, height: int, width: int) -> Map:
    """Bilinear, with aligned corners."""
    rows, columns = len(channel), len(channel[0])

    def at(y: int, x: int) -> float:
        down, across = y * (rows - 1) / (height - 1), x * (columns - 1) / (width - 1)
        top, left = min(int(down), rows - 2), min(int(across), columns - 2)
        v, u = down - top, across - left
        upper = (1 - u) * channel[top][left] + u * channel[top][left + 1]
        lower = (1 - u) * channel[top + 1][left] + u * channel[top + 1][left + 1]
        return (1 - v) * upper + v * lower

    return [[at(y, x) for x in range(width)] for y in range(height)]


def pooled(channel: Map, side: int, reduce: Callable[[list[float]], float]) -> list[float]:
    """Windows of side x side, those at the border smaller, row by row."""
    return [
        reduce([value for row in channel[y : y + side] for value in row[x : x + side]])
        for y in range(0, len(channel), side)
        for x in range(0, len(channel[0]), side)
    ]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# --- distillation terms -----------------------------------------------------------------------------------------------


def pixel_kl(student: Maps, teacher: Maps, temperature: float, *, reverse: bool = False, scale: float = 1) -> Sum:
    """Hinton 2015; RDD eq. 2."""
    total, count = 0.0, 0
    for ours, theirs in zip(student, teacher, strict=True):
        for one, other in zip(pixels(ours), pixels(theirs), strict=True):
            p, q = softmax(other, temperature), softmax(one, temperature)
            total += scale * (kl(q, p) if reverse else kl(p, q))
            count += 1
    return total, count


def attention(image: list[Map]) -> list[float]:
    return unit([mean([value**2 for value in vector]) for vector in pixels(image)])


def attention_transfer(student: Maps, teacher: Maps, *, norm: bool = False) -> Sum:
    """Zagoruyko 2017, eq. 2; with `norm` RDD eq. 11."""
    differences = [squares(attention(s), attention(t)) for s, t in zip(student, teacher, strict=True)]
    count = len(student) * len(flat(student[0][0]))
    return sum(math.sqrt(d) if norm else d for d in differences), count


def channel_kl(student: Maps, teacher: Maps, temperature: float) -> Sum:
    """Shu 2021, eq. 5."""
    total, count = 0.0, 0
    for ours, theirs in zip(student, teacher, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            total += temperature**2 * kl(softmax(flat(other), temperature), softmax(flat(one), temperature))
            count += 1
    return total, count


def feature_mse(student: Maps, teacher: Maps) -> Sum:
    """Romero 2014, eq. 3, over all elements."""
    pairs = [
        (a, b)
        for s, t in zip(student, teacher, strict=True)
        for one, other in zip(s, t, strict=True)
        for a, b in zip(flat(one), flat(other), strict=True)
    ]
    return sum((a - b) ** 2 for a, b in pairs), len(pairs)


def pairwise_affinity(student: Maps, teacher: Maps, pool: int) -> Sum:
    """Liu 2019, eq. 2 and 3."""
    total, count = 0.0, 0
    for ours, theirs in zip(student, teacher, strict=True):
        nodes = [
            [unit(list(node)) for node in zip(*(pooled(channel, pool, max) for channel in image), strict=True)]
            for image in (ours, theirs)
        ]
        for i in range(len(nodes[0])):
            for j in range(len(nodes[0])):
                total += (dot(nodes[0][i], nodes[0][j]) - dot(nodes[1][i], nodes[1][j])) ** 2
                count += 1
    return total, count


def discriminator_loss(student: Maps, teacher: Maps, kind: str) -> Sum:
    """Liu 2019, eq. 4; the hinge of arXiv:1805.08318, eq. 4."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        fake, real = flat(ours[0]), flat(theirs[0])
        if kind == "hinge":
            total += mean([max(0.0, 1 - score) for score in real]) + mean([max(0.0, 1 + score) for score in fake])
        else:
            total += mean(fake) - mean(real)
    return total, len(student)


def generator_loss(student: Maps) -> Sum:
    """Liu 2019, the student's side of eq. 4."""
    return -sum(mean(flat(scores[0])) for scores in student), len(student)


def pixel_similarity(student: list[Maps], teacher: list[Maps]) -> Sum:
    """Feng 2021, eq. 3 to 5, as CIRKD's code has them."""
    total, count = 0.0, 0
    for image in range(len(student[0])):
        ours, theirs = ([attention(layer[image]) for layer in layers] for layers in (student, teacher))
        for earlier in range(len(ours)):
            for later in range(earlier + 1, len(ours)):
                one, other = (
                    unit([b - a for a, b in zip(maps[earlier], maps[later], strict=True)]) for maps in (ours, theirs)
                )
                total += squares(one, other)
                count += len(one)
    return total, count


def category_similarity(student: Maps, teacher: Maps, temperature: float) -> Sum:
    """Feng 2021, eq. 6 to 8, as CIRKD's code has them."""
    total, count = 0.0, 0
    for ours, theirs in zip(student, teacher, strict=True):
        one, other = ([softmax(pooled(channel, 2, mean), temperature) for channel in image] for image in (ours, theirs))
        for i in range(len(one)):
            for j in range(len(one)):
                total += (dot(one[i], one[j]) - dot(other[i], other[j])) ** 2
                count += 1
    return total, count


def centres(image: list[Map], classes: list[int], num_classes: int) -> dict[int, list[float]]:
    """The mean vector of every class that has pixels."""
    found = {}
    for c in range(num_classes):
        members = [vector for vector, label in zip(pixels(image), classes, strict=True) if label == c]
        if members:
            found[c] = [mean(list(values)) for values in zip(*members, strict=True)]
    return found


def by_class(student: Maps, teacher: Maps, labels: Labels) -> Iterator[tuple[list[Map], list[Map], list[int]]]:
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        yield ours, theirs, resized(label, len(ours[0]), len(ours[0][0]))


def intra_class_variation(student: Maps, teacher: Maps, labels: Labels, num_classes: int) -> Sum:
    """Wang 2020, eq. 2 to 4."""
    total, count = 0.0, 0
    for ours, theirs, classes in by_class(student, teacher, labels):
        of_class = [centres(image, classes, num_classes) for image in (ours, theirs)]
        for position, label in enumerate(classes):
            count += 1
            if label < num_classes:
                one, other = (
                    dot(unit(pixels(image)[position]), unit(found[label]))
                    for image, found in zip((ours, theirs), of_class, strict=True)
                )
                total += (one - other) ** 2
    return total, count


def inter_class_distance(student: Maps, teacher: Maps, labels: Labels, num_classes: int) -> Sum:
    """Zhang 2022, eq. 4 and 5, a mean over the pairs of classes that an image has."""
    total, count = 0.0, 0
    for ours, theirs, classes in by_class(student, teacher, labels):
        one, other = (centres(image, classes, num_classes) for image in (ours, theirs))
        pairs = [(a, b) for a in one for b in one if a != b]
        if pairs:
            count += 1
            total += mean([(math.dist(one[a], one[b]) - math.dist(other[a], other[b])) ** 2 for a, b in pairs])
    return total, count


def position_information(student: Maps, teacher: Maps, axis: str) -> Sum:
    """Zhang 2022, eq. 8."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        for direction in (0, 1):
            lines = [
                image[direction] if (direction == 0) == (axis == "text") else list(zip(*image[direction], strict=True))
                for image in (ours, theirs)
            ]
            for one, other in zip(*lines, strict=True):
                total += math.sqrt(squares(unit(list(one)), unit(list(other)))) / 2
    return total, len(student)


def minibatch_contrast(student: Maps, teacher: Maps, temperature: float) -> Sum:
    """Yang 2022, eq. 4 to 6, with KL(teacher || student)."""
    ours, theirs = ([[unit(vector) for vector in pixels(image)] for image in maps] for maps in (student, teacher))
    total, count = 0.0, 0
    for image in range(len(ours)):
        for position in range(len(ours[image])):
            count += 1
            for other in range(len(ours)):
                p, q = (
                    softmax([dot(rows[image][position], key) / temperature for key in rows[other]])
                    for rows in (theirs, ours)
                )
                total += kl(p, q) / len(ours)
    return total, count


def memory_contrast(
    student: list[list[float]], teacher: list[list[float]], bank: list[list[float]], temperature: float, tau: float
) -> Sum:
    """Yang 2022, eq. 9 to 12, with KL(teacher || student)."""
    total = 0.0
    for one, other in zip(student, teacher, strict=True):
        p, q = (softmax([dot(row, key) / (temperature * tau) for key in bank]) for row in (other, one))
        total += tau**2 * kl(p, q)
    return total, len(student)


# --- task losses ------------------------------------------------------------------------------------------------------


def probabilities(logits: list[Map], height: int, width: int) -> list[list[float]]:
    """Softmax at the labels' size, row by row."""
    return [softmax(vector) for vector in pixels([enlarged(channel, height, width) for channel in logits])]


def weighted_sum(
    logits: Maps,
    labels: Labels,
    weigh: Callable[[int, int, list[float], int], float],
    denominator: str,
    class_weights: list[float] | None = None,
) -> Sum:
    """Cross entropy times `weigh(image, position, probabilities, label)`, over labelled pixels."""
    total, count = 0.0, 0.0
    for image, label in enumerate(labels):
        found = probabilities(logits[image], len(label), len(label[0]))
        for position, (p, target) in enumerate(zip(found, [value for row in label for value in row], strict=True)):
            if denominator == "all":
                count += 1
            if target == IGNORE:
                continue
            weight = weigh(image, position, p, target) * (class_weights[target] if class_weights else 1)
            total += weight * -math.log(p[target])
            count += {"all": 0, "valid": 1, "kept": weight}[denominator]
    return total, count


def cross_entropy(logits: Maps, labels: Labels, class_weights: list[float] | None = None) -> Sum:
    return weighted_sum(logits, labels, lambda *_: 1.0, "valid", class_weights)


def focal(logits: Maps, labels: Labels, gamma: float) -> Sum:
    """Lin 2017, eq. 4."""
    return weighted_sum(logits, labels, lambda image, position, p, target: (1 - p[target]) ** gamma, "valid")


def ohem(logits: Maps, labels: Labels, threshold: float) -> Sum:
    """Shrivastava 2016, with a threshold on the label's probability."""
    return weighted_sum(logits, labels, lambda image, position, p, target: float(p[target] <= threshold), "kept")


def tfe(student: Maps, primary: Maps, auxiliary: Maps, labels: Labels) -> Sum:
    """RDD's first stage: exp(-KL(primary || aux)) of the teacher, enlarged to the labels' size."""
    easy = []
    for image, label in enumerate(labels):
        rows = list(zip(pixels(primary[image]), pixels(auxiliary[image]), strict=True))
        values = [math.exp(-kl(softmax(one), softmax(other))) for one, other in rows]
        width = len(primary[image][0][0])
        small = [values[start : start + width] for start in range(0, len(values), width)]
        easy.append(flat(enlarged(small, len(label), len(label[0]))))
    return weighted_sum(student, labels, lambda image, position, p, target: easy[image][position], "all")


def tse(student: Maps, teacher: Maps, labels: Labels, threshold: float) -> Sum:
    """RDD's second stage: pixels that exactly one of student and teacher finds hard."""
    theirs = [probabilities(image, len(label), len(label[0])) for image, label in zip(teacher, labels, strict=True)]

    def weigh(image: int, position: int, p: list[float], target: int) -> float:
        return float((max(p) <= threshold) != (max(theirs[image][position]) <= threshold))

    return weighted_sum(student, labels, weigh, "all")


# --- metrics ----------------------------------------------------------------------------------------------------------


def metrics(predictions: Labels, labels: Labels, num_classes: int) -> dict[str, Any]:
    """Confusion matrix, IoUs, mIoU and pixel accuracy of all images together."""
    confusion = [[0] * num_classes for _ in range(num_classes)]
    for predicted, label in zip(predictions, labels, strict=True):
        for row, targets in zip(predicted, label, strict=True):
            for guess, target in zip(row, targets, strict=True):
                if target != IGNORE:
                    confusion[target][guess] += 1
    columns = [sum(row[c] for row in confusion) for c in range(num_classes)]
    unions = [columns[c] + sum(confusion[c]) - confusion[c][c] for c in range(num_classes)]
    ious = [confusion[c][c] / unions[c] if unions[c] else None for c in range(num_classes)]
    return {
        "confusion": confusion,
        "iou": ious,
        "mean_iou": mean([iou for iou in ious if iou is not None]),
        "pixel_accuracy": sum(confusion[c][c] for c in range(num_classes)) / sum(columns),
    }
