"""Stages: each starts from the one before, is shared by configs that ask for the same one, and resumes."""

import pytest
import torch

from tests.workspace import PROTONET, TWO_STAGES, best, interrupt_in, metrics, same_run


def shared(space):
    return sorted((space.base / "pretrained").glob("*.pth"))


def test_second_stage_starts_from_the_first(space):
    code, out, _ = space.trainer(space.config(TWO_STAGES, "Two.yaml"))
    assert code == 0
    assert "stage meta starts from the previous stage's backbone: " in out
    assert " matched, 0 missing, 0 unexpected" in out
    assert "ProtoNet  Glyphs test  3-way 1-shot" in out
    run = space.base / "Glyphs_Two"
    assert [(record["stage"], record["epoch"]) for record in metrics(run)] == [
        *[("base", 1), ("base", 2)],
        *[("meta", 1), ("meta", 2), ("meta", 3)],
    ]
    assert {file.name for file in run.glob("*.pth")} == {"last.pth", "ebest_3way_1shot.pth"}
    assert [path.name.rsplit("_", 1)[0] for path in shared(space)] == ["Glyphs_NegMargin"]


@pytest.mark.parametrize(("stage", "epoch"), [("base", 0), ("base", 1), ("meta", 0), ("meta", 1)])
def test_resumed_in_either_stage_equals_uninterrupted(space, monkeypatch, stage, epoch):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    whole = space.train(cfg, base=str(space.path / "elsewhere"))
    interrupt_in(monkeypatch, stage, epoch)
    assert space.trainer(cfg, "-e", "0")[0] == 130
    assert len(shared(space)) == (stage == "meta")
    code, out, _ = space.trainer(cfg, "-e", "0", "--resume")
    assert code == 0
    assert ("stage base: reusing" in out) == ((stage, epoch) == ("meta", 0))  # until meta has saved its first epoch
    assert same_run(space.base / "Glyphs_Two", whole)


def test_a_resumed_later_stage_does_not_need_the_first(space, monkeypatch):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    whole = space.train(cfg, base=str(space.path / "elsewhere"))
    interrupt_in(monkeypatch, "meta", 1)
    space.trainer(cfg)
    shared(space)[0].unlink()
    code, out, _ = space.trainer(cfg, "-e", "0", "--resume")
    assert code == 0
    assert "stage base" not in out
    assert shared(space) == []
    assert same_run(space.base / "Glyphs_Two", whole)


def test_a_lost_teacher_is_trained_again_and_the_student_goes_on(space, monkeypatch):
    base = TWO_STAGES["STAGE"]["base"] | {"METHOD": "RFS", "ARGS": {}, "OBJECTIVE": {"NAME": "ce"}}
    stages = {"base": base, "meta": base | {"EPOCHS": 3, "STEPS": 4}}
    tree = TWO_STAGES | {"METHOD": {"NAME": "RFS"}, "STAGE": stages}
    cfg = space.config(tree, "Two.yaml")
    whole = space.train(cfg, base=str(space.path / "elsewhere"))
    interrupt_in(monkeypatch, "meta", 1)
    space.trainer(cfg)
    last = space.base / "Glyphs_Two" / "last.pth"
    saved = last.read_bytes()
    shared(space)[0].unlink()
    interrupt_in(monkeypatch, "base", 1)
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 130
    assert last.read_bytes() == saved
    assert space.trainer(cfg, "-e", "0", "--resume")[0] == 0
    assert same_run(space.base / "Glyphs_Two", whole)


def test_finished_run_resumes_without_training(space):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    run = space.train(cfg)
    before = (run / "metrics.jsonl").read_bytes()
    code, out, _ = space.trainer(cfg, "--resume")
    assert code == 0
    assert "resuming after epoch 3 of 3" in out
    assert (run / "metrics.jsonl").read_bytes() == before


def test_same_first_stage_is_reused(space):
    space.train(space.config(TWO_STAGES, "Two.yaml"))
    (stored,) = shared(space)
    before = stored.read_bytes()
    other = space.config(TWO_STAGES, "Three.yaml", METHOD={"NAME": "ProtoNet", "ARGS": {"scale": 0.1}})
    code, out, _ = space.trainer(other, "-e", "0")
    assert code == 0
    assert f"stage base: reusing {stored}" in out
    assert [record["stage"] for record in metrics(space.base / "Glyphs_Three")] == ["meta"] * 3
    assert shared(space) == [stored]
    assert stored.read_bytes() == before


def test_reused_first_stage_gives_the_same_second(space):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    first, second = (torch.load(best(space.train(cfg, tag=tag)), weights_only=True) for tag in ("a", "b"))
    assert all(torch.equal(first["method"][name], second["method"][name]) for name in first["method"])


def test_stages_with_validations_of_their_own_share_the_first_between_shots(space):
    stage = TWO_STAGES["STAGE"]["base"] | {"VAL": {"EPISODES": 20, "WAY": 4, "SHOT": 1, "QUERY": 3}}
    tree = TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | {"base": stage}}
    space.train(space.config(tree, "One.yaml"))
    code, out, _ = space.trainer(space.config(tree, "Five.yaml"), "-e", "0", "TASK.TEST.SHOT=5", "TASK.TEST.QUERY=2")
    assert (code, "stage base: reusing" in out) == (0, True)


def test_a_validation_that_the_split_cannot_give_is_refused_by_its_key(space):
    code, _, err = space.trainer(space.config(TWO_STAGES, "Two.yaml"), "STAGE.base.VAL.WAY=16")
    assert code == 2
    assert "STAGE.base.VAL.WAY is 16" in err


def test_renamed_stage_draws_other_images_and_so_is_another(space):
    space.train(space.config(TWO_STAGES, "Two.yaml"))
    stages = {"first": TWO_STAGES["STAGE"]["base"], "meta": TWO_STAGES["STAGE"]["meta"]}
    space.train(space.config(TWO_STAGES | {"STAGES": ["first", "meta"], "STAGE": stages}, "Renamed.yaml"))
    assert len(shared(space)) == 2


def test_stored_stage_is_no_checkpoint_to_evaluate(space):
    cfg = space.config(TWO_STAGES, "Two.yaml")
    run = space.train(cfg)
    out = space.evaluator(cfg, "-c", *shared(space), best(run))[1]
    assert f"skipped  {shared(space)[0]}: an earlier stage of a run" in out
    assert out.count("result files") == 1


def test_init_takes_the_backbone_of_a_checkpoint(space):
    base = {"base": TWO_STAGES["STAGE"]["base"] | {"METHOD": "", "ARGS": {}}}
    one = PROTONET | {"METHOD": {"NAME": "NegMargin"}, "STAGES": ["base"], "STAGE": base}
    source = best(space.train(space.config(one, "Base.yaml")))
    code, out, _ = space.trainer(space.config(), "-e", "0", f"STAGE.meta.INIT={source}", "STAGE.meta.OPTIM.LR=1e-12")
    assert code == 0
    assert f"stage meta: {source}: " in out
    assert " matched, 0 missing, 0 unexpected" in out
    given = torch.load(source, weights_only=True)["method"]
    taken = torch.load(space.base / "Glyphs_Proto" / "last.pth", weights_only=True)["method"]
    for name in (name for name in taken if name.endswith("weight")):
        assert torch.allclose(given[name], taken[name], atol=1e-6)


def test_init_takes_the_names_of_others(space, tmp_path):
    source = best(space.train(space.config(), tag="source"))
    ours, theirs = torch.load(source, weights_only=True)["method"], {}
    for name, value in ours.items():
        layer, part, entry = name.removeprefix("backbone.layers.").split(".")
        theirs[f"encoder.layer{int(layer) // 3 + 1}.{part}.{entry}"] = value
    torch.save({"params": theirs}, tmp_path / "theirs.pth")
    override = f"STAGE.meta.INIT={tmp_path / 'theirs.pth'}"
    code, out, _ = space.trainer(space.config(), "-e", "0", override, "STAGE.meta.OPTIM.LR=1e-12")
    assert code == 0
    told = f"stage meta: {tmp_path / 'theirs.pth'} (Conv4 in layers): 28 matched, 0 not of the backbone"
    assert told in out
    assert told in (space.base / "Glyphs_Proto" / "train.log").read_text()
    taken = torch.load(space.base / "Glyphs_Proto" / "last.pth", weights_only=True)["method"]
    for name in (name for name in taken if name.endswith("weight")):
        assert torch.allclose(ours[name], taken[name], atol=1e-6)


def test_init_that_fits_in_part_says_how_much(space):
    source = best(space.train(space.config(), "BACKBONE.ARGS.norm=batch", tag="source"))
    out = space.trainer(space.config(), "-e", "0", f"STAGE.meta.INIT={source}")[1]
    assert f"{source}: 16 matched, 12 missing, 0 unexpected" in out


def test_init_that_fits_nothing_is_refused(space):
    source = best(space.train(space.config(), "BACKBONE.ARGS.width=4", tag="source"))
    code, _, err = space.trainer(space.config(), f"STAGE.meta.INIT={source}")
    assert code == 2
    assert f"error: {source} does not fit this backbone (" in err
    assert not (space.base / "Glyphs_Proto").exists()


def test_init_of_a_later_stage_is_refused(space):
    source = best(space.train(space.config(), tag="source"))
    code, _, err = space.trainer(space.config(TWO_STAGES, "Two.yaml"), f"STAGE.meta.INIT={source}")
    assert code == 2
    assert "STAGE.meta.INIT" in err


def test_shots_drawn_from_a_range_resume_as_they_were(space, monkeypatch):
    cfg = space.config(PROTONET, "Range.yaml")
    shots = ("TASK.TRAIN.SHOT=[1, 3]", "TASK.TRAIN.IMAGES=5")
    whole = space.train(cfg, *shots, base=str(space.path / "elsewhere"))
    interrupt_in(monkeypatch, "meta", 1)
    assert space.trainer(cfg, *shots, "-e", "0")[0] == 130
    assert space.trainer(cfg, *shots, "-e", "0", "--resume")[0] == 0
    assert same_run(space.base / "Glyphs_Range", whole)


def test_a_warmup_longer_than_passes_over_the_images_is_refused(space):
    long = {"base": TWO_STAGES["STAGE"]["base"] | {"EPOCHS": 2, "STEPS": 0, "OPTIM": {"WARMUP_STEPS": 1000}}}
    code, _, err = space.trainer(space.config(TWO_STAGES | {"STAGE": TWO_STAGES["STAGE"] | long}, "Two.yaml"))
    assert code == 2
    assert err.startswith("error: STAGE.base.OPTIM.WARMUP_STEPS is 1000, but the stage has ")
    assert err.endswith("; make it shorter.\n")
