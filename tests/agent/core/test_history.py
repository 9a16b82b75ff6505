"""The conversation as it was heard, its budget, and the prompt made of it."""

from duologue.core.history import (
    EXTRACT_CHARS_MAX,
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    SUMMARY_CHARS_MAX,
    AgentItem,
    CallItem,
    History,
    OutputItem,
    ToolRound,
    UserItem,
    estimate_tokens,
    item_messages,
    item_tokens,
    reply_items,
)
from duologue.core.messages import Message, ToolCall
from duologue.core.policy import HistoryPolicy

CALL = ToolCall("a", "clock", "{}")
ROUND = ToolRound(5, (CALL,), (("a", "17:00"),))


def talked(exchanges, **policy):
    """`exchanges` questions and answers of 24 tokens each."""
    history = History(HistoryPolicy(**policy), "Be kind.")
    for number in range(1, exchanges + 1):
        history.add_user(number, f"Question number {number:02d}, what is the time?")
        history.add_agent(number, f"Answer number {number:02d}: it is five.", cut=False)
    return history


def test_tokens_are_estimated_by_script():
    assert [estimate_tokens(text) for text in ("", "word", "words", "你好", "你好 hi")] == [0, 1, 2, 2, 3]


def test_an_item_s_tokens_are_those_of_its_messages():
    assert item_tokens(UserItem(1, "word", ("data:",))) == MESSAGE_TOKENS + 1 + IMAGE_TOKENS
    assert sum(map(item_tokens, reply_items(1, "word", (ROUND,)))) == 3 * MESSAGE_TOKENS + 1 + 2 + 2


def test_a_reply_is_told_round_by_round():
    assert item_messages(reply_items(1, "Look. Five.", [ROUND])) == [
        Message("assistant", "Look.", tool_calls=(CALL,)),
        Message("tool", "17:00", call_id="a"),
        Message("assistant", "Five."),
    ]


def test_a_reply_that_was_cut_before_its_tools_still_tells_of_them():
    assert [message.role for message in item_messages(reply_items(1, "Lo", [ROUND]))] == ["assistant", "tool"]


def test_the_prompt_is_system_summary_items():
    history = talked(1)
    history.summary = "They met."
    assert [(message.role, message.text[:8]) for message in history.messages()] == [
        ("system", "Be kind."),
        ("system", "Earlier "),
        ("user", "Question"),
        ("assistant", "Answer n"),
    ]
    assert history.messages("Sing.")[0].text == "Sing." and history.messages("")[0].text.startswith("Earlier")
    assert [m.role for m in history.messages(without=history.items[0])] == ["system", "system", "assistant"]


def test_what_was_not_heard_is_not_remembered_unless_tools_were_used():
    history = History(HistoryPolicy())
    history.add_agent(1, "  ", cut=True)
    history.add_agent(2, "", cut=True, rounds=[ROUND])
    assert history.items == [CallItem("a", "clock", "{}", 2), OutputItem("a", "17:00")]


def test_a_turn_that_continues_another_takes_its_place_wherever_it_stands():
    history = talked(1)
    history.add_user(2, "And", ("data:a",))
    history.add_agent(0, "", cut=True, rounds=[ROUND])
    assert history.extend_user(UserItem(3, "And tomorrow?", ("data:b",)), 2) == 2
    assert history.items[-1] == UserItem(3, "And tomorrow?", ("data:a", "data:b"))
    assert history.user_item(2) is None and history.user_item(3) is history.items[-1]
    assert history.extend_user(UserItem(4, "Well?"), 0) == 5
    assert len(history.items) == 6 and history.tokens == sum(map(item_tokens, history.items))


def test_a_correction_replaces_what_was_heard():
    history = talked(2)
    assert history.correct_agent(1, " Answer ") and history.items[1] == AgentItem(1, "Answer", cut=True)
    assert history.tokens == sum(map(item_tokens, history.items))
    assert not history.correct_agent(9, "x")


def test_within_the_budget_nothing_is_overdue():
    assert talked(3).overdue() == 0


def test_folding_begins_at_the_budget_and_stops_before_a_question():
    history = talked(10, tokens_max=220)
    assert history.tokens > 220 and not history.over_hard_limit
    due = history.overdue()
    assert due % 2 == 0 and isinstance(history.items[due], UserItem)
    history.fold(due, "Summary.")
    assert history.tokens <= 110 and history.overdue() == 0 and not history.over_hard_limit


def test_folding_keeps_the_last_exchange_however_big_it_is():
    history = talked(2, tokens_max=10)
    assert history.over_hard_limit and history.overdue() == 2


def test_items_are_bounded_whatever_their_size():
    history = talked(4, items_max=6)
    assert history.overdue() == 6
    history.fold(history.overdue(), "")
    assert len(history.items) == 2


def test_an_agent_that_talks_to_itself_is_folded_beyond_the_hard_limit():
    history = History(HistoryPolicy(items_max=4))
    for number in range(6):
        history.add_agent(number, f"Announcement {number}.", cut=False)
    assert not history.over_hard_limit and history.overdue() == 0
    history.add_agent(6, "Announcement 6.", cut=False)
    assert history.over_hard_limit and history.overdue() == 5


def test_the_beginning_of_the_prompt_stays_the_same_between_two_foldings():
    history, prompts, folded = talked(0, tokens_max=400), [], 0
    for number in range(1, 60):
        history.add_user(number, f"Question number {number:02d}, what is the time?")
        history.add_agent(number, f"Answer number {number:02d}: it is five.", cut=False)
        if due := history.overdue():
            history.fold(due, history.extract(due))
            folded += 1
            prompts.clear()
        for earlier in prompts:
            assert history.messages()[: len(earlier)] == earlier
        prompts.append(history.messages())
    assert 4 <= folded <= 8


def test_an_extract_names_who_said_what_and_says_what_it_left_out():
    history = talked(1)
    history.summary = "They met."
    history.items[:0] = [
        *reply_items(0, "", (ROUND,)),
        AgentItem(8, "", True),
        UserItem(7, ""),
        UserItem(8, "", ("x",)),
    ]
    history.items.append(UserItem(9, "x" * (EXTRACT_CHARS_MAX + 9)))
    assert history.extract(8).splitlines() == [
        "They met.",
        "Assistant: (used clock)",
        "User: (images: 1)",
        "User: Question number 01, what is the time?",
        "Assistant: Answer number 01: it is five.",
        "User: " + "x" * EXTRACT_CHARS_MAX,
    ]
    long = talked(200)
    extract = long.extract(400)
    assert extract.startswith("(earlier talk left out) ") and len(extract) <= SUMMARY_CHARS_MAX
    assert extract.endswith("Answer number 200: it is five.")


def test_a_summary_is_bounded():
    history = talked(2)
    history.fold(2, " " + "x" * (SUMMARY_CHARS_MAX + 1))
    assert len(history.summary) == SUMMARY_CHARS_MAX and len(history.items) == 2


def test_a_history_is_restored_with_its_count_of_tokens():
    history, other = talked(3), History(HistoryPolicy())
    other.restore(history.items)
    assert (other.items, other.tokens) == (history.items, history.tokens)


def test_calls_put_in_behind_those_of_another_reply_make_a_round_of_their_own():
    put, own = CallItem("put", "weather", "{}"), CallItem("a", "clock", "{}", reply=4)
    told = item_messages([AgentItem(0, "Did you?"), own, OutputItem("a", "17:00"), put])
    assert [(message.role, message.text) for message in told] == [
        ("assistant", "Did you?"), ("assistant", ""), ("tool", "17:00"), ("assistant", ""), ("tool", "No result yet."),
    ]  # fmt: skip
    told = item_messages([AgentItem(0, "Did you?"), own, put, OutputItem("a", "17:00")])
    assert [call.call_id for message in told for call in message.tool_calls] == ["a", "put"]
    assert [message.call_id for message in told if message.role == "tool"] == ["a", "put"]
