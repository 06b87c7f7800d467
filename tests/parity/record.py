"""Numbers that the equations of the authors give, for test_parity.py: python tests/parity/record.py"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.parity.cases import CASES
from tests.parity.map_equations import initial_deviations

NUMBERS = Path(__file__).with_name("numbers.json")
KERNELS = [(3, 16), (1, 16), (3, 32), (1, 32), (3, 128)]  # side and outputs of convolutions of ResNet12T at width 16


def recorded(tensor) -> list:
    """Twelve digits of each number, in one list."""
    return [float(f"{number:.12g}") for number in tensor.detach().flatten().tolist()]


def main() -> None:
    """Write every case."""
    cases = {name: {part: recorded(value) for part, value in case.theirs().items()} for name, case in CASES.items()}
    deviations = [[*kernel, value] for kernel, value in zip(KERNELS, initial_deviations(KERNELS), strict=True)]
    lines = [f"{json.dumps(name)}: {json.dumps(parts)}" for name, parts in cases.items()]
    lines.append(f'"ResNet12T, initial deviations": {json.dumps(deviations)}')
    NUMBERS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
