"""What a method shows of its work on an episode, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..build.data import Data
from ..build.evaluation import restore
from ..build.saved import load_given_or_saved
from ..config.check import MOST
from ..engine import device
from ..engine.selection import best_checkpoint
from ..errors import UserError
from ..files import write_text
from ..log import start_log
from ..protocols.pictures import episode_pictures
from ..protocols.questions import TestedNetwork, questions
from ..report.page.render import page


def study_pictures(
    cfg_file: str,
    overrides: Sequence[str],
    file: str,
    *,
    episode: int = 0,
    queries: Sequence[int] = (0,),
    device_name: str = "0",
    threads: int = 0,
    out: str = "",
) -> Path:
    """Write what a method shows of some queries of a test episode; see `Method.pictures`.

    Args:
        cfg_file: YAML file; "" = the one that the checkpoint holds.
        overrides: of its keys.
        file: checkpoint, or a run folder for its best one.
        episode: number of the test episode.
        queries: numbers of queries in it.
        device_name: number of a GPU, or cpu.
        threads: of the CPU; 0 = PyTorch's choice.
        out: the page; "" = in pictures/ beside the checkpoint.

    Returns:
        The page.
    """
    if not 0 <= episode <= MOST:
        raise UserError(f"--episode is {episode}; episodes have numbers from 0 to {MOST}.")
    path = best_checkpoint(Path(file))
    loaded = load_given_or_saved(cfg_file, [path], overrides)
    where, _ = device.prepare(device_name, threads)
    data = Data(loaded.cfg, where)
    (question,) = questions(data.cfg, (), (), ())
    for query in queries:
        if query >= question.shape.n_query:
            raise UserError(f"--query is {query}, but an episode has {question.shape.n_query}, numbered from 0.")
    network = restore(data, path)
    sections = episode_pictures(TestedNetwork(data, network), question, episode, queries)
    if not sections:
        raise UserError(
            f"METHOD.NAME is {network.method.name}, which shows no pictures of a {question.shape} episode of this "
            "data; choose a method that does, such as DN4."
        )
    name = f"episode{episode}_query{'_'.join(map(str, queries))}.html"
    target = Path(out) if out else path.parent / "pictures" / name
    write_text(target, page(f"{network.method.name} · {data.split('test').dataset} · episode {episode}", sections))
    start_log().info("page  %s", target)
    return target
