"""`make bench`: losses, the step, reading images, large tables, verdicts, a large driver; then what meets its bar."""

from tests.benchmarks import driver, losses, reading, step, tables, verdicts


def main() -> None:
    """Measure all with the defaults and sum it up."""
    compared, steps = losses.main([])["comparisons"], step.main([])["steps"]
    bars = [
        (f"{row['name']}, {row['device']} {row['precision']}, {bar['measure']}", bar["met"])
        for row in compared
        for bar in row["bars"]
    ]
    bars += [(f"{row['variant']} in a step of {row['preset']}, {row['device']}", row["met"]) for row in steps]
    bars += [
        (f"counting by class in a step of {row['preset']}, {row['variant']}", row["counting_met"]) for row in steps
    ]
    bars += [(f"reading images: {row['name']}", row["met"]) for row in reading.main([])["loaders"]]
    large = tables.main([])
    bars += [(f"{row['name']} of large tables", row["met"]) for row in large["questions"] if row["bars"]]
    bars.append(("appends to a growing table", large["appends"]["met"]))
    bars += [(f"the driver's {name} does not grow with the study", met) for name, met in driver.main([])["met"].items()]
    rows = verdicts.main([])["rows"]
    bars += [(f"verdicts: {row['noise']}, {row['methods']} methods, {row['seeds']} seeds", row["met"]) for row in rows]
    missed = [name for name, met in bars if not met]
    print(f"\n{len(bars) - len(missed)} of {len(bars)} bars met", *(f"missed: {name}" for name in missed), sep="\n")


if __name__ == "__main__":
    main()
