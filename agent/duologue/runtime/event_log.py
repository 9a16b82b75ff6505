"""A session as `logging` records, for programs that want a log beside the trace.

One observer, off by default (`log = true` in the settings, or `log_events`): a decision is logged before it is carried
out. Handlers run on the event loop: one that may block (a socket, a slow disk) belongs behind a
`logging.handlers.QueueHandler`.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from duologue.core.actions import Action
from duologue.core.events import RecognitionFailed, ReplyFailed
from duologue.runtime.services import Severity
from duologue.runtime.session import Session
from duologue.runtime.session_setup import Note, SessionEvent

LOGGER: Final = logging.getLogger("duologue")
LEVELS: Final[Mapping[Severity, int]] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_events(session: Session, logger: logging.Logger = LOGGER) -> Callable[[], None]:
    """Log what happens in `session` from now on; returns a function that ends it.

    Notes are INFO; retries, and what else was mended, WARNING; failures ERROR; decisions DEBUG, with the words that
    were said. Each record carries the session's id as `record.session`, and its message begins with it. Raises
    `ProtocolError` where too many observe the session already.
    """
    extra = {"session": session.id}

    def log(event: SessionEvent) -> None:
        if isinstance(event, Note):
            logger.log(LEVELS[event.severity], "%s %s: %s", session.id, event.source, event.text, extra=extra)
        elif isinstance(event, ReplyFailed):
            logger.error("%s reply %d failed: %s", session.id, event.reply, event.error, extra=extra)
        elif isinstance(event, RecognitionFailed):
            logger.error("%s turn %d was not recognised: %s", session.id, event.turn, event.error, extra=extra)
        elif isinstance(event, Action):
            logger.debug("%s %r", session.id, event, extra=extra)

    return session.observe(log)
