"""P5: the declarations know every stage, and whoever waits for one hears of a crash."""

from __future__ import annotations

from contracts import topics
from contracts.documents import READ_MODELS
from infra.runtime.functions import declared, stages

NOBODY_WAITS = {"control_job", "erase_content", "train_model", "track_runs", "track_wandb"}
"""A crashed request leaves the job as it is, who deletes looks at the erasure again, a trainer is only woken."""


def test_a_stage_has_one_name_and_leads_to_stages_that_there_are() -> None:
    said = [stage for function in declared().values() for stage in function.stages]
    assert len(said) == len(stages())
    for stage in said:
        assert set(stage.onward.values()) <= stages().keys()
        assert stage.onward.keys() <= {topic.name for topic in topics.TOPICS}


def test_every_read_model_that_is_worked_on_has_a_stage_that_speaks_for_it() -> None:
    worked_on = {stage.model for stage in stages().values()}
    assert worked_on <= set(READ_MODELS)
    kinds = [each.unfinished for each in declared().values() if each.unfinished]
    assert {kind.model for kind in kinds} == worked_on - {"documents"}, "documents are their archive's"
    for kind in kinds:
        assert stages()[kind.given_up].model == kind.model
        assert kind.inputs or any(kind.model in each.retakes for each in declared().values())


def test_whoever_waits_for_a_function_hears_that_it_crashed() -> None:
    unheard = {
        name
        for name, each in declared().items()
        if each.reactions and not any(reaction.fails for reaction in each.reactions)
    }
    assert unheard == NOBODY_WAITS
    for each in declared().values():
        assert {reaction.fails for reaction in each.reactions if reaction.fails} <= stages().keys()


def test_a_function_is_called_as_its_folder_and_hears_only_of_topics_that_there_are() -> None:
    names = {topic.name for topic in topics.TOPICS}
    for name, each in declared().items():
        assert each.name == name
        assert set(each.topics) <= names
        assert len(set(each.topics)) == len(each.topics)
