"""`make bench`: losses, steps, gradients, reading, large tables, verdicts, a large driver; then what meets its bar."""

from tests.benchmarks import driver, gradients, losses, reading, recorded, step, tables, verdicts


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
    bars += [
        (f"comparing gradients in {row['preset']}, {row['arm']}", row["met"]) for row in gradients.main([])["probes"]
    ]
    replayed = recorded.main([])
    for row in replayed["steps"]:
        bars.append((f"a recorded step of {row['case']} over a live one", row["met"]))
        bars.append((f"a recorded step of {row['case']} over the baseline's", row["baseline_met"]))
    bars.append(("trials with a recorded teacher", replayed["trials"]["met"]))
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
