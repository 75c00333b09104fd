"""The command line: `kdstudy`, also `python -m study`.

Exit codes: 0 done, 1 the run failed or was stopped, 2 the input is wrong. With --json, standard output holds one JSON
document and nothing else; what is meant for the eye goes to standard error.
"""

import argparse
import errno
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.commands import add_commands
from study.stopping import HaltedError, told
from study.submission import default_address, refuse_copies
from trainers.addresses import shown

if TYPE_CHECKING:
    from study.changes import Changes
    from study.config import StudyConfig

FAILED, WRONG_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        _refuse_urls(options)
        return command(options)
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"kdstudy: {line}", file=sys.stderr)
        return WRONG_INPUT
    except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"kdstudy: {error.filename}: {error.strerror}; name another path", file=sys.stderr)
        return WRONG_INPUT
    except HaltedError as error:
        print(f"kdstudy: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"kdstudy: {told(error)}; free some space and give the same command again", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("kdstudy: stopped", file=sys.stderr)
        return FAILED


def _refuse_urls(options: argparse.Namespace) -> None:
    """Raise ValueError where a URL stands for a folder or a file: a path has lost one of its slashes."""
    given = (
        (name, value) for name, one in vars(options).items() for value in (one if isinstance(one, list) else [one])
    )
    for name, value in given:
        scheme, colon, rest = str(value).partition(":/")
        if isinstance(value, Path) and colon and scheme.isalnum():
            raise ValueError(
                f"{name} must be on a local disk or NFS, but got {shown(f'{scheme}://{rest}')}: a study's ledger, lock "
                "and tables need files that can be locked and renamed; name a folder, and put the trials' checkpoints "
                f"there: --set execution.checkpoints={scheme}://..."
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kdstudy", description=(__doc__ or "").partition("\n\n")[2])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    _takes_arms(_takes_study(add("validate", _validate, "check a study: every fault at once, nothing is started")))
    _takes_cluster(_takes_out(_takes_arms(_takes_study(add("run", _run, "start a study")))))
    _takes_changes(_takes_cluster(_takes_folder(add("resume", _resume, "go on with a study, or extend it"))))
    _takes_replicates(
        _takes_cluster(
            _takes_out(_takes_folder(add("replicate", _replicate, "train the best settings with new seeds")))
        )
    )
    rescore = _takes_json(_takes_folder(add("rescore", _rescore, "judge stored checkpoints of the best on a split")))
    rescore.add_argument("--split", required=True, choices=("train", "val", "test", "holdout"))
    rescore.add_argument("--top", type=int, default=3, metavar="K", help="how many settings, besides the baseline's; 3")
    _takes_json(_takes_folder(add("status", _status, "trials of a study by arm and state, running or not")))
    _takes_cluster(_takes_out(_takes_study(add("teacher", _teacher, "train, or find, the teacher of a study"))))
    position = _takes_study(add("position", _position, "train, or find, what IDD reads positions with"))
    position.add_argument("--arm", help="arm of the study, at its spaces' defaults; all that need it by default")
    export = _takes_out(_takes_folder(add("export", _export, "write the student of a trial, with its provenance")))
    export.add_argument("--trial", metavar="ARM-N", help="a trial that ended, ARM-N, or N with --arm; the best one")
    export.add_argument("--arm", help="arm of the trial")
    export.add_argument("--onnx", action="store_true", help="an ONNX file of the network too")
    train = _takes_out(
        _takes_study(add("train", _train, "run one trial: a study's arm, or a trial's own configuration"))
    )
    train.add_argument("--arm", help="arm of the study, at its spaces' defaults; the first by default")
    train.add_argument("--trial", metavar="ARM-N", help="train this trial again; STUDY is then its study's folder")
    train.add_argument("--workers", type=int, default=0, help="Ray Train workers; 0 (default) runs without Ray")
    evaluate = _takes_json(add("evaluate", _evaluate, "score a checkpoint or a teacher's file"))
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", help="its folder or URL, or a teacher's file")
    evaluate.add_argument("--dataset", required=True)
    evaluate.add_argument("--root", default="", help="the dataset's folder")
    evaluate.add_argument("--split", default="val", choices=("train", "val", "test"))
    evaluate.add_argument("--scales", type=float, nargs="+", default=[1.0], metavar="S", help="look at these sizes too")
    evaluate.add_argument("--flip", action="store_true", help="look at mirror images too")
    evaluate.add_argument("--window", type=int, nargs=2, metavar=("H", "W"), help="slide a window over each image")
    evaluate.add_argument("--stride", type=int, nargs=2, metavar=("H", "W"), help="of the window; 2/3 of it by default")
    evaluate.add_argument("--export", type=Path, metavar="DIR", help="write the predictions as PNG")
    evaluate.add_argument("--as", dest="kind", default="colour", choices=("colour", "ids"), help="what is written")
    difficulty = _takes_json(add("difficulty", _difficulty, "draw what a student and its teacher find hard"))
    difficulty.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of the student, as for evaluate")
    difficulty.add_argument("--teacher", required=True, type=Path, metavar="FILE", help="a teacher's file")
    difficulty.add_argument("--dataset", required=True)
    difficulty.add_argument("--root", default="", help="the dataset's folder")
    difficulty.add_argument("--split", default="val", choices=("train", "val"))
    difficulty.add_argument("--images", nargs="+", default=["4"], metavar="N|NAME", help="the first N (4), or by name")
    difficulty.add_argument("--thresholds", type=float, nargs="+", metavar="T", help="the paper's and the trial's own")
    difficulty.add_argument("--whole-split", action="store_true", help="count the shares over all images")
    difficulty.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the pictures and shares")
    data = add("data", _data_check, "datasets on disk").add_subparsers(required=True, metavar="COMMAND")
    text = "hold a dataset's files against what was published"
    checked = _takes_json(data.add_parser("check", help=text, description=text))
    checked.add_argument("name", metavar="NAME", help="a dataset of trainers/data")
    checked.add_argument("--root", required=True, metavar="DIR", help="the dataset's folder")
    _takes_network(_takes_json(add("profile", _profile, "parameters, operations, latency and memory of a network")))
    convert = add("convert", _convert, "write a published checkpoint as a teacher's file")
    convert.add_argument("checkpoint", type=Path, metavar="FILE")
    convert.add_argument("--from", required=True, choices=("cirkd",), dest="layout", help="its key layout")
    convert.add_argument("--model", required=True, help="the network that was saved, as in 'deeplabv3(resnet101)'")
    convert.add_argument("--out", required=True, type=Path, metavar="FILE", help="the .safetensors file to write")
    convert.add_argument("--dataset", help="what it was trained on, for its class names")
    cluster = add("cluster", _cluster, "print a file that starts a study on a cluster: KubeRay, ray up or Slurm")
    cluster.add_argument("kind", choices=("kuberay", "ray-up", "slurm"))
    cluster.add_argument("study", metavar="STUDY", help="a preset's name, or a YAML file at a path that the nodes have")
    cluster.add_argument("--storage", required=True, metavar="PATH", help="the folder that all nodes see there")
    cluster.add_argument("--image", default="kdstudy:latest", help="of the containers, for kuberay")
    cluster.add_argument("--node", action="append", default=[], metavar="HOST", dest="nodes", help="for ray-up")
    cluster.add_argument("--user", default="ray", help="who logs in there, for ray-up")
    cluster.add_argument("--workers", type=int, default=1, metavar="N", help="nodes that train; 1 by default")
    cluster.add_argument("--cpus", type=int, default=8, metavar="N", help="of each of them; 8 by default")
    cluster.add_argument("--gpus", type=int, default=1, metavar="N", help="of each of them; 1 by default")
    add_commands(add)
    return parser


def _takes_study(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("study", metavar="STUDY", help="a preset's name or a YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="sets", help="for example data.root=/data"
    )
    return parser


def _takes_arms(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--arm", action="append", default=[], metavar="ARM", dest="arms", help="only this arm; may be given repeatedly"
    )
    return parser


def _takes_out(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; below runs/ by default")
    return parser


def _takes_folder(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    return parser


def _takes_cluster(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    default = default_address()
    parser.add_argument("--address", default=default, help=f"Ray cluster: auto, local or host:port; here {default}")
    return parser


def _takes_changes(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--trials", type=int, metavar="N", help="raise the budget of every arm to so many trials")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again, with the same values")
    parser.add_argument(
        "--arm", action="append", default=[], metavar="ARM", dest="arms", help="whose trials; may be given repeatedly"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="sets", help="execution.* or arms.ARM.trials"
    )
    return parser


def _takes_replicates(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--top", type=int, default=3, metavar="K", help="how many settings, besides the baseline's; 3")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="trials of each; 5 by default")
    parser.add_argument(
        "--split", choices=("val", "test", "holdout"), help="what they are judged on; as in the study by default"
    )
    return parser


def _takes_network(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a network, as in 'deeplabv3(resnet101)'")
    parser.add_argument("--papers", action="store_true", help="the papers' tables beside our counts, instead")
    parser.add_argument("--size", metavar="HxW", help="of the images; by default each at the size the papers use")
    parser.add_argument("--classes", type=int, metavar="N", help="19 by default")
    return parser


def _takes_json(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    return parser


def _validate(options: argparse.Namespace) -> int:
    from study.loading import load

    config = load(options.study, options.sets, options.arms)
    print(f"{config.name}: well")
    for name, arm in config.arms.items():
        if arm.replicated:
            print(f"  {name}: {arm.trials} replicates, seeds {config.seed} to {config.seed + arm.trials - 1}")
        else:
            print(f"  {name}: {arm.trials} trials, none stopped before iteration {config.grace(name)}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from study import runner, session
    from study.loading import load

    session.refuse_client(options.address)
    config = load(options.study, options.sets, options.arms)
    _refuse_copies(options.out, config)
    folder = (options.out or Path("runs") / config.name).absolute()
    runner.create(config, folder)
    try:
        return _go_on(folder, options.address)
    except ValueError:
        # what was wrong shows before the first trial; the folder is free again once it is mended
        runner.discard_unstarted(folder)
        raise


def _refuse_copies(out: Path | None, config: "StudyConfig") -> None:
    kept = {"teacher.folder": Path(config.teacher.folder)} if config.any_needs_teacher else {}
    refuse_copies({"--out": out, **kept})


def _resume(options: argparse.Namespace) -> int:
    from study.changes import Changes

    changes = Changes(
        sets=tuple(options.sets),
        trials=options.trials,
        retry_failed=options.retry_failed,
        arms=tuple(options.arms),
    )
    return _go_on(options.folder, options.address, changes)


def _replicate(options: argparse.Namespace) -> int:
    from study.replicate import prepare

    asked = {name: getattr(options, name) for name in ("top", "seeds", "split", "out")}
    return _go_on(prepare(options.folder, **asked), options.address)


def _rescore(options: argparse.Namespace) -> int:
    from study.rescore import rescore, show

    rows = rescore(options.folder, top=options.top, split=options.split)
    if options.json:
        print(json.dumps(rows))
    else:
        show(rows)
    return 0


def _go_on(folder: Path, address: str, changes: "Changes | None" = None) -> int:
    from study import runner

    try:
        finished = runner.resume(folder, address, changes=changes or runner.AS_IT_STANDS)
    except KeyboardInterrupt:
        finished = False
    if runner.has_ended_trials(folder):
        from analysis.leaderboard import show
        from analysis.queries import best

        show(best(folder))
    if finished:
        print(f"written to {folder}", file=sys.stderr)
        return 0
    given_up = runner.given_up_arms(folder)
    if given_up:
        print(f"given up after execution.max_failed failures: {', '.join(given_up)}", file=sys.stderr)
        print(f"to run what failed again: kdstudy resume {folder} --retry-failed", file=sys.stderr)
    else:
        print(f"not all trials are done; go on with: kdstudy resume {folder}", file=sys.stderr)
    return FAILED


def _status(options: argparse.Namespace) -> int:
    from study import runner
    from study.ledger import status

    found = status(runner.read(options.folder), options.folder)
    if options.json:
        print(json.dumps(found))
        return 0
    for arm, counts in found.items():
        print(f"{arm}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    return 0


def _teacher(options: argparse.Namespace) -> int:
    """Train the teacher as a study that has no other arm, or say where it is."""
    from study import runner, session
    from study.loading import load

    session.refuse_client(options.address)
    config = load(options.study, options.sets)
    if not config.any_needs_teacher:
        raise ValueError(f"a teacher is for arms that distil, but no arm of {config.name} does; add `methods` to one")
    _refuse_copies(options.out, config)
    folder = (options.out or Path("runs") / f"{config.name}-teacher").absolute()
    if not (folder / runner.CONFIG).exists():
        runner.create(config, folder)
    return 0 if runner.resume(folder, options.address, only_teacher=True) else FAILED


def _position(options: argparse.Namespace) -> int:
    from study.position import position

    for found in position(options.study, options.sets, arm=options.arm):
        print(
            f"{found.arm}: mean absolute error {found.error:.3f} of the map's side on {found.images} validation images "
            f"(a constant guess: {found.constant:.3f}), {found.path}"
        )
    return 0


def _export(options: argparse.Namespace) -> int:
    from study.export import export

    out = export(options.folder, trial=options.trial, arm=options.arm, out=options.out, onnx=options.onnx)
    print(f"written to {out}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from study.single import train

    named = {name: getattr(options, name) for name in ("arm", "trial", "out", "workers")}
    outcome = train(options.study, options.sets, **named)
    for name, value in outcome.items():
        if not name.startswith("mask/"):  # a table's worth, two for every class
            print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    return FAILED if "error" in outcome else 0


def _evaluate(options: argparse.Namespace) -> int:
    from study.single import evaluate
    from trainers.config import parse
    from trainers.prediction import Views

    looks = {name: getattr(options, name) for name in ("scales", "flip", "window", "stride")}
    scores = evaluate(
        options.checkpoint,
        dataset=options.dataset,
        root=options.root,
        split=options.split,
        views=parse(Views, looks),
        export=(options.export, options.kind) if options.export else None,
    )
    if options.json:
        print(json.dumps(scores))
        return 0
    if scores["miou_percent"] is None:
        print(f"{scores['images']} images predicted; {options.split} has no published labels, so nothing is scored")
        return 0
    print(f"mIoU {scores['miou_percent']:.2f} %, pixel accuracy {scores['pixel_accuracy_percent']:.2f} %")
    for name, iou in scores["class_iou_percent"].items():
        print(f"  {name}: " + ("does not occur" if iou is None else f"{iou:.2f} %"))
    return 0


def _difficulty(options: argparse.Namespace) -> int:
    from analysis import difficulty_panels, mask_shares
    from study.difficulty import Examination, Looks, chosen
    from trainers.config import parse

    examination = Examination(
        options.checkpoint,
        teacher=options.teacher,
        dataset=options.dataset,
        root=options.root,
        split=options.split,
        looks=parse(Looks, {"thresholds": options.thresholds}),
    )
    reading = difficulty_panels.Reading(
        class_names=examination.data.class_names,
        palette=examination.data.palette,
        confidence=examination.config.confidence,
        trained=examination.trained,
    )
    pictures = [
        difficulty_panels.write(examination.look(index), reading, options.out)
        for index in chosen(examination.data, options.images)
    ]
    if options.whole_split:
        examination.look_at_the_rest()
    answer = examination.answer()
    shares = mask_shares.shares_table(answer["shares"])
    written = [*mask_shares.write(shares, options.out), *pictures]
    if options.json:
        print(json.dumps({**answer, "files": [str(path) for path in written]}))
        return 0
    print(examination.described)
    print(f"percent of the labelled pixels of {answer['images']} images (tfe: mean weight), t = {examination.shown:g}")
    mask_shares.show(shares, examination.shown)
    for path in written:
        print(f"written to {path}")
    return 0


def _data_check(options: argparse.Namespace) -> int:
    from study.datasets import check, show

    found = check(options.name, options.root)
    if options.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0 if found["well"] else WRONG_INPUT


def _profile(options: argparse.Namespace) -> int:
    from study import profiling

    if options.papers and (options.model or options.size or options.classes):
        raise ValueError("--papers has networks, sizes and classes of its own, but got some; leave them out")
    if options.model is None and not options.papers:
        raise ValueError("profile takes a MODEL or --papers, but got neither; give one of them")
    if options.papers:
        profiling.print_papers(as_json=options.json)
    else:
        profiling.print_profile(options.model, size=options.size, num_classes=options.classes, as_json=options.json)
    return 0


def _cluster(options: argparse.Namespace) -> int:
    from study.templates import ClusterConfig, render
    from trainers.config import parse

    names = ("study", "storage", "image", "nodes", "user", "workers", "cpus", "gpus")
    print(render(options.kind, parse(ClusterConfig, {name: getattr(options, name) for name in names})), end="")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from study.conversion import convert

    card = convert(options.checkpoint, model=options.model, out=options.out, dataset=options.dataset)
    print(f"{options.out}: {options.model}, {len(card.class_names)} classes, mIoU not measured")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
