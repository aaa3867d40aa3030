"""Say in one sentence what changed, for somebody who reads nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime

from monitor.domain import Alarm, AlarmKind
from monitor.services.accuracy.estimate import EstimatedAccuracy
from monitor.services.accuracy.measure import MeasuredAccuracy
from monitor.services.explanations.explanation import (
    ClassChange,
    Exhibit,
    PropertyPlace,
    PropertyShift,
    ScoreShift,
    SegmentChange,
)
from monitor.stats.share import Share

CONCENTRATED = 0.6
"""Share of the flags beyond the expected from which on one segment is named for them."""
_MORE = {
    "aspect": ("wider", "narrower"),
    "brightness": ("brighter", "darker"),
    "bytes": ("larger in bytes", "smaller in bytes"),
    "contrast": ("of more contrast", "of less contrast"),
    "height": ("higher", "lower"),
    "saturation": ("more colourful", "less colourful"),
    "sharpness": ("sharper or noisier", "blurrier"),
    "width": ("wider in pixels", "narrower in pixels"),
}
"""What more, and what less, of a property is called."""
_LESS_TELLING = ("bytes", "width", "height", "aspect")
"""Properties of the file, named after those that can be seen."""
_SHORT_S = 600
"""Windows shorter than this many seconds are named to the second."""
_MOST = 0.5
_RARE = 0.01
"""Share of reference items beyond an input's property from which down it is worth a word."""
_FAR = 0.75
"""Chance from which on a property is worth a word in the headline."""


def headline(
    *,
    model: str,
    alarm: Alarm | None,
    since: datetime,
    until: datetime,
    flagged: Share,
    expected: float,
    scores: Sequence[ScoreShift],
    properties: Sequence[PropertyShift],
    classes: Sequence[ClassChange],
    segments: Sequence[SegmentChange],
    segment: str = "",
) -> str:
    """Compose the sentence.

    Parameters
    ----------
    since, until
        The window.
    flagged, expected
        Shares of its inputs.
    scores, properties, classes, segments
        What moved, the most telling first.
    segment
        ``name=value`` of the segment the window is confined to.
    """
    when = _when(alarm, since, until)
    if not flagged.of:
        return f"{when}, no scored input of {model} is recorded: nothing is known."
    one = None if segment else _concentrated(segments)
    where = (
        f" with {segment}" if segment else "" if one is None else f" with {one.column} {one.value}"
    )
    here = flagged if one is None else one.flagged
    what = _what(alarm, scores, classes, moved=here.low > expected, most=here.low > _MOST)
    words = f"{when}, inputs of {model}{where} {what}: {_flags(here, expected)}"
    if one is not None and flagged.of > here.of:
        elsewhere = (flagged.count - here.count) / (flagged.of - here.of)
        words += f"; {percent(max(0.0, elsewhere))} of the others are"
    described = describe(properties)
    return f"{words}. Against training they are {described}." if described else f"{words}."


def event_headline(exhibit: Exhibit, p_value: float, places: Sequence[PropertyPlace]) -> str:
    """Say in one sentence how unusual an input is, and in what."""
    rarity = f"{percent(p_value)} of healthy inputs look as unusual"
    seen = f"predicted {exhibit.prediction} with confidence {exhibit.confidence:.2f}"
    judged = "flagged" if exhibit.flagged else "not flagged"
    odd = [
        adjective(place.name, more=place.at > 0.5)
        for place in places
        if min(place.at, 1 - place.at) <= _RARE
    ]
    described = f" Against training it is {_listed(odd[:3])}." if odd else ""
    which = "semantic" if exhibit.p_semantic <= exhibit.p_domain else "domain"
    by = f"; the {which} score finds it the more unusual" if exhibit.flagged else ""
    return f"This input was {seen} and {judged}: {rarity}{by}.{described}"


def accuracy(estimated: EstimatedAccuracy, measured: MeasuredAccuracy) -> str:
    """Say how good the model probably is on these inputs, or why nobody can tell."""
    held_out = "" if estimated.held_out is None else f"; {percent(estimated.held_out)} held-out"
    by_labels = ""
    if measured.overall is not None:
        share = measured.overall
        span = f"{percent(share.low)} to {percent(share.high)}"
        # A handful of labels gives a number nobody should read: 0 % of the first one.
        told = f"{percent(share.value)} ({span})" if share.tells else f"somewhere from {span}"
        labels = f"{share.labels} label{'' if share.labels == 1 else 's'}"
        by_labels = f"{told}: measured by {labels}{held_out}"
    if estimated.value is None or estimated.low is None or estimated.high is None:
        return by_labels or f"unknown: {estimated.reason}"
    guess = (
        f"{percent(estimated.value)} ({percent(estimated.low)} to {percent(estimated.high)}): "
        f"estimated without labels{held_out}"
    )
    return f"{by_labels}; {guess}" if by_labels else guess


def describe(properties: Sequence[PropertyShift]) -> str:
    """Say how inputs differ from training in up to three properties; empty when they do not."""
    said = []
    for each in sorted(properties, key=lambda each: each.name in _LESS_TELLING):
        far = max(each.shift.estimate, 1 - each.shift.estimate) >= _FAR
        if each.shift.moved and far:
            said.append(adjective(each.name, more=each.shift.estimate > 0.5))
    return _listed(said[:3])


def adjective(name: str, *, more: bool) -> str:
    """Say what more, or less, of a property makes of a picture."""
    larger, smaller = _MORE.get(name, (f"higher in {name}", f"lower in {name}"))
    return larger if more else smaller


def clock(at: datetime) -> str:
    """Write an instant for a sentence, to the minute, UTC."""
    return at.astimezone(UTC).strftime("%d %b %Y %H:%M")


def percent(share: float) -> str:
    """Write a share for a sentence."""
    if 0 < share < 0.001:
        return "less than 0.1%"
    return f"{share:.1%}" if 0 < share < 0.095 else f"{share:.0%}"


def _when(alarm: Alarm | None, since: datetime, until: datetime) -> str:
    if alarm is not None and alarm.resolved_at is None:
        return f"Since {clock(since)} UTC"
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    if (until - since).total_seconds() < _SHORT_S:
        return f"From {since:%d %b %Y %H:%M:%S} to {until:%H:%M:%S} UTC"
    end = f"{until:%H:%M}" if since.date() == until.date() else clock(until)
    return f"From {clock(since)} to {end} UTC"


def _concentrated(segments: Sequence[SegmentChange]) -> SegmentChange | None:
    """Find the segment that most of the flags come from, if one is behind them."""
    if not segments:
        return None
    first = segments[0]
    mine = first.contribution or 0.0
    # Most of the flags from a segment with most of the traffic says nothing about it.
    if first.flagged.estimate is None or mine < CONCENTRATED or first.traffic > 0.8 * mine:
        return None
    return first


def _what(
    alarm: Alarm | None,
    scores: Sequence[ScoreShift],
    classes: Sequence[ClassChange],
    *,
    moved: bool,
    most: bool,
) -> str:
    kind = None if alarm is None else alarm.kind
    match kind:
        case AlarmKind.NOVELTY if most:
            return "look like none of the classes the model knows"
        case AlarmKind.NOVELTY:
            return "look like none of the classes the model knows more often than they should"
        case AlarmKind.DOMAIN_DRIFT if most:
            return "no longer look as training's did"
        case AlarmKind.DOMAIN_DRIFT:
            return "look unlike training's more often than they should"
        case AlarmKind.CONFIDENCE_SHIFT:
            sure = next((s for s in scores if s.name == "confidence"), None)
            less = sure is None or sure.shift.estimate >= 0.5
            return f"leave the model {'less' if less else 'more'} sure than held-out pictures did"
        case AlarmKind.CLASS_SHIFT:
            return _class_words(classes)
        case AlarmKind.FLAG_RATE:
            return "are flagged too often" if moved else "are not flagged as often as expected"
        case AlarmKind.PROPERTY_SHIFT:
            return "have other properties than training's"
        case _ if most:
            return "do not look as training's did"
        case _:
            often = "look unlike training's more often than they should"
            return often if moved else "look much as training's did"


def _class_words(classes: Sequence[ClassChange]) -> str:
    for each in classes:
        if each.now.estimate is not None and each.reference is not None:
            verb = "more" if each.now.estimate > each.reference else "less"
            return (
                f"are predicted {each.label} {verb} often ({percent(each.now.estimate)}, "
                f"{percent(each.reference)} among held-out pictures)"
            )
    return "are predicted as other classes than before"


def _flags(flagged: Share, expected: float) -> str:
    if flagged.estimate is None:
        return (
            f"{flagged.count} of {flagged.of} flagged, {percent(expected)} expected of healthy "
            "inputs; too few to say more"
        )
    return (
        f"{percent(flagged.estimate)} flagged ({percent(flagged.low)} to {percent(flagged.high)}), "
        f"{percent(expected)} expected of healthy inputs"
    )


def _listed(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
