"""The papers' ablation tables out of a study's trials."""
