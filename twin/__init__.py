"""The pure core: events, fold, cut, view, dispatch, decisions, score. No I/O, no clock, no random source of its own."""
