"""What the judges think of the open turn, by ear: kept beside its words, the newest of each judge."""

from duologue.core.events import TurnJudged
from duologue.core.state import Core

JUDGES_MAX = 8  # whose opinions are kept; further ones are dropped


def judged(core: Core, event: TurnJudged) -> None:
    """A judgement of the open turn. One that comes too late is dropped by its turn number."""
    turn = core.state.turn
    if turn is None or turn.number != event.turn:
        return
    if event.judge in turn.judged or len(turn.judged) < JUDGES_MAX:
        turn.judged[event.judge] = (event.over, event.backchannel, event.echo)
