"""`kdstudy ablate`: the papers' ablation tables out of a study's trials."""

import argparse
import json

from analysis.ablation.ablation import ablations, as_values
from analysis.ablation.view import print_ablations
from analysis.studies.study import open_study
from study.commands.options import add_folder, add_json


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    add_json(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    study = open_study(options.folder)
    tables = ablations(study)
    if options.json:
        print(json.dumps(as_values(study, tables)))
    else:
        print_ablations(study, tables)
    return 0
