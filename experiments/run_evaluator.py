"""Evaluate checkpoints of a YAML file on its test split."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.cli import parser, run_command, split_options

EXAMPLES = """\
  python experiments/run_evaluator.py --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml -c checkpoint/*/*.pth --device cpu
  python experiments/run_evaluator.py --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml -c best.pth TASK.TEST.SHOT 5
  python experiments/run_evaluator.py --cfg configs/Glyphs/ProtoNet_N5K1_C4.yaml --untrained
"""


def main() -> None:
    """Parse the command line and evaluate."""
    cli = parser(__doc__, EXAMPLES)
    chosen = cli.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--checkpoint", "-c", nargs="+", metavar="FILE", help="checkpoint, or what a glob makes of several"
    )
    chosen.add_argument("--untrained", action="store_true", help="the network as initialised: the floor to beat")
    args = cli.parse_intermixed_args()
    checkpoints, overrides = split_options(args.checkpoint or [])

    from core.commands import evaluate

    evaluate(
        args.cfg,
        overrides + args.opts,
        checkpoints,
        device_name=args.device,
        threads=args.threads,
        untrained=args.untrained,
    )


if __name__ == "__main__":
    run_command(main)
