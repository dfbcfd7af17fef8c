"""Settings from flags: the same defaults, every field, and help in sentences."""

import re

import pytest
from absl import flags as absl_flags

from evaluation import few_shot, finetune, flags, knn, linear_probe, sgd_probe, shape_bias
from evaluation.flags import settings_from_flags
from evaluation.linear_probe import l2_sweep
from evaluation.settings import numbers

PROTOCOLS = [few_shot, finetune, knn, linear_probe, sgd_probe]


@pytest.fixture
def parse(monkeypatch):
    """A function that defines the flags of a settings class and parses some in place of absl's."""

    def parsed(settings_class, *arguments):
        values = absl_flags.FlagValues()
        for name, option in flags._options(settings_class).items():
            option["define"](name, **option["arguments"], flag_values=values)
        values(["program", *arguments])
        monkeypatch.setattr(flags.flags, "FLAGS", values)
        return settings_from_flags(settings_class)

    return parsed


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_without_flags_the_settings_are_the_defaults(parse, protocol):
    defaults = protocol.Settings()
    made = parse(protocol.Settings)
    assert made == defaults or vars(made) == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(defaults).items()
    }


def test_flags_become_settings(parse):
    assert parse(knn.Settings, "--k=7", "--temperature=0.5") == knn.Settings(7, 0.5)
    probe = parse(linear_probe.Settings, "--l2_values=3", "--metric=quadratic_kappa")
    assert probe == linear_probe.Settings(l2_sweep(3), metric="quadratic_kappa")
    given = ["--learning_rates=0.1,1", "--weight_decays=0", "--label_share=0.1", "--seed=3"]
    assert parse(finetune.Settings, *given, "--batch_size=8", "--steps=2") == finetune.Settings(
        8, 2, (0.1, 1.0), (0.0,), label_share=0.1, seed=3
    )
    assert parse(sgd_probe.Settings, "--recipe=byol").recipe == "byol"
    biased = parse(shape_bias.Settings, "--cue_conflict=cues")
    assert biased == shape_bias.Settings("cues", str(shape_bias.CATEGORIES))


def test_bad_flags(parse):
    with pytest.raises(absl_flags.IllegalFlagValueError):
        parse(knn.Settings, "--k=0")
    with pytest.raises(absl_flags.IllegalFlagValueError, match="cue_conflict must have a value"):
        parse(shape_bias.Settings)
    with pytest.raises(ValueError, match=r"^0\.1,much is given where numbers with commas"):
        parse(finetune.Settings, "--learning_rates=0.1,much")
    with pytest.raises(ValueError, match="label_share is 2"):
        parse(finetune.Settings, "--label_share=2")
    assert numbers(["1", "0.5"]) == (1.0, 0.5)


@pytest.mark.parametrize("protocol", [*PROTOCOLS, shape_bias])
def test_help_is_a_sentence(protocol):
    for name, option in flags._options(protocol.Settings).items():
        assert re.fullmatch(r"(The|How|A|T) .*\.", option["arguments"]["help"]), name
