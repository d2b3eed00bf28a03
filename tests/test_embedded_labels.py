"""Labels of the embedded corpus are true: read back from the sentences and settled without the grammar's help."""

import re
from collections import Counter
from itertools import product

import pytest
from read_embedded import (
    ACTIVES,
    ACTIVITY_VERBS,
    PASSIVES,
    infer,
    last_sentence,
    read_event,
    read_interests,
    read_verdict,
    sentences_of,
)

from fusion_pipeline.tasks.embedded import TASKS, deciders, generate
from fusion_pipeline.tasks.embedded.meaning import GROUP, OBJECTS, SINGLE, Statement, relation, worlds
from fusion_pipeline.tasks.embedded.topic import TOPICS

SOURCES = ("sentiment", "nli", "paraphrase", "topic")


def rows_of(name):
    return [row for rows in generate(name).values() for row in rows]


def test_what_follows_in_small_worlds_follows_in_larger_ones():
    for quantifiers, sizes in ((GROUP, (2, 3, 4, 5)), (SINGLE, (1,))):
        every = list(worlds(sizes))
        for p, q, s, t in product(quantifiers, OBJECTS, quantifiers, OBJECTS):
            premise, hypothesis = Statement(p, q), Statement(s, t)
            truths = {hypothesis.holds(world) for world in every if premise.holds(world)}
            expected = {(True,): "entailment", (False,): "contradiction"}.get(tuple(truths), "neutral")
            assert relation(premise, hypothesis) == expected


@pytest.mark.parametrize(
    ("premise", "hypothesis", "label"),
    [
        (("all", "narrow"), ("some", "broad"), "entailment"),
        (("no", "broad"), ("no", "narrow"), "entailment"),
        (("no", "narrow"), ("no", "broad"), "neutral"),
        (("some", "narrow"), ("all", "narrow"), "neutral"),
        (("all", "narrow"), ("not_all", "broad"), "contradiction"),
        (("some", "sibling"), ("no", "broad"), "contradiction"),
        (("one", "sibling"), ("one", "narrow"), "neutral"),
        (("not_one", "broad"), ("not_one", "narrow"), "entailment"),
    ],
)
def test_inference_agrees_with_a_person(premise, hypothesis, label):
    assert relation(Statement(*premise), Statement(*hypothesis)) == label


def test_every_nli_label_follows_from_its_sentences():
    for row in rows_of("nli"):
        assert infer(row) == TASKS["nli"].labels[row["label"]], row


def test_paraphrases_report_the_same_event_and_the_others_do_not():
    swapped = 0
    for row in rows_of("paraphrase"):
        first, second = read_event(last_sentence(row["text"])), read_event(row["text_pair"])
        assert (first == second) == (TASKS["paraphrase"].labels[row["label"]] == "paraphrase"), row
        swapped += first == (second[1], second[0], *second[2:])
    assert swapped > 100


def test_verdicts_of_single_clauses_follow_negation():
    read = [(read_verdict(row["text"]), row["label"]) for row in rows_of("sentiment")]
    known = [(verdict, label) for verdict, label in read if verdict is not None]
    assert len(known) > 600
    assert all(verdict == bool(label) for verdict, label in known)


def test_a_contrast_is_decided_by_its_main_clause():
    checked = 0
    for row in rows_of("sentiment"):
        if found := re.match(r"(?:Although|Even though|While) [^,]+, ([^,;.]+)", row["text"]):
            assert read_verdict(found[1]) == bool(row["label"]), row
            checked += 1
    assert checked > 200


def test_the_topic_is_never_the_thing_dismissed():
    dismissed = re.compile(
        rf"(?:instead of|not about|hardly with|minutes on) ({ACTIVITY_VERBS}) ", re.IGNORECASE
    )
    checked = 0
    for row in rows_of("topic"):
        if found := dismissed.search(row["text"]):
            assert found[1] not in TOPICS[TASKS["topic"].labels[row["label"]]][0], row
            checked += 1
    assert checked > 1000


def test_the_composed_label_is_the_label_of_the_source_task_that_decides():
    target = TASKS["review_check"]
    assert set(target.composed_of) < set(TASKS)
    checked = Counter()
    for split, rows in generate(target.name).items():
        for row, decided_by in zip(rows, deciders(target.name)[split], strict=True):
            backed = {"nli": by_inference, "paraphrase": by_event, "sentiment": by_verdict}[decided_by](row)
            if backed is not None:
                assert target.labels[row["label"]] == ("supported" if backed else "unsupported"), row
                checked[decided_by] += 1
    assert checked.keys() == set(target.composed_of)
    assert min(checked.values()) > 100


def by_inference(row):
    return infer(row) == "entailment"


def by_event(row):
    return read_event(row["text"]) == read_event(row["text_pair"])


def by_verdict(row):
    return read_verdict(row["text"])


def test_source_tasks_are_decided_by_no_other_task():
    for name in SOURCES:
        assert not TASKS[name].composed_of
        assert set(deciders(name)["test"]) == {None}


def test_interests_are_what_no_sentence_dismisses():
    for row in rows_of("interests"):
        assert read_interests(row["text"]) == {
            TASKS["interests"].labels[number] for number in row["label"]
        }, row
    mentions = [
        row
        for row in rows_of("interests")
        if read_interests(row["text"], dismissed=False) != read_interests(row["text"])
    ]
    assert len(mentions) > 1000


def test_the_tagged_words_did_it_bore_it_and_say_when():
    for row in rows_of("roles"):
        names = [TASKS["roles"].labels[tag] for tag in row["tags"]]
        agent, patient, _, occasion = read_event(sentences_of(row)[0])
        for role, said in (("agent", f"the {agent}"), ("patient", f"the {patient}"), ("time", occasion)):
            words = [
                word.lower() for word, name in zip(row["tokens"], names, strict=True) if name.endswith(role)
            ]
            assert words == said.split(), row
            assert names.index(f"B-{role}") + 1 == names.index(f"I-{role}")


def test_one_choice_alone_tells_of_the_same_event():
    for row in rows_of("retelling"):
        told = [read_event(choice) for choice in row["choices"]]
        same = [number for number, event in enumerate(told) if event == read_event(row["context"])]
        assert same == [row["label"]], row
        assert row["context"] not in row["choices"]


def test_the_answer_is_the_one_person_of_whom_the_question_holds():
    asked = re.compile(r"Who (?:was (.+) by|(.+)) the (\w+)\?")
    for row in rows_of("culprit"):
        passive, active, person = asked.fullmatch(row["question"]).groups()
        answers = set()
        for event in (read_event(sentence) for sentence in sentences_of(row)):
            if passive and (event[0], event[2]) == (person, PASSIVES[passive]):
                answers.add(f"the {event[1]}")
            if active and (event[1], event[2]) == (person, ACTIVES[active]):
                answers.add(f"the {event[0]}")
        assert answers == {row["answers"]["text"][0].lower()}, row


def test_overlap_counts_what_two_reports_share():
    for row in rows_of("overlap"):
        first, second = read_event(row["text"]), read_event(row["text_pair"])
        assert sum(one == other for one, other in zip(first, second, strict=True)) == row["label"], row
