"""Is what comes in still what the model was trained on; if not, what moved, where, since when."""

from dataclasses import replace

from dashboards.grafana.boards.frame import MODELS, Board, Choice, Row
from dashboards.grafana.boards.limits import limit
from dashboards.grafana.boards.panels import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Place,
    Query,
    bars,
    chart,
    heat,
    tile,
    timeline,
)
from dashboards.grafana.boards.signals import (
    ALARM_BY_KIND,
    ALARMS,
    BEGAN,
    CERTIFIED,
    LOOK,
    MODEL,
    OPEN,
    OPEN_SINCE,
    SEVERITIES,
    stored,
)
from dashboards.grafana.boards.tables import Column, sheet

SEGMENTS = Choice(
    name="segment",
    title="Segment",
    values='label_values(fieldwatch_segment_evidence_ratio{model=~"$model"}, segment)',
)
SHARES = (
    (limit("FieldwatchFlaggedShareSlow"), ORANGE),
    (limit("FieldwatchFlaggedShareFast"), RED),
)
SEGMENT = 'segment=~"$segment"'
_TILE = Place(title="", about="", width=4, height=4)


def _p_values(channel: str) -> str:
    series = f'fieldwatch_p_value_bucket{{{MODEL}, channel="{channel}", le!="+Inf"}}'
    every = f'fieldwatch_p_value_count{{{MODEL}, channel="{channel}"}}'
    return (
        f"sum by (le) (increase({series}[$__rate_interval])) "
        f"/ on () group_left () sum(increase({every}[$__rate_interval]))"
    )


def _at_most(p: str) -> str:
    low = f'fieldwatch_p_value_bucket{{{MODEL}, le="{p}"}}'
    return (
        f"sum by (channel) (rate({low}[$__rate_interval])) / sum by (channel) "
        f"(rate(fieldwatch_p_value_count{{{MODEL}}}[$__rate_interval]))"
    )


def _effect(kind: str, bound: str = "estimate") -> str:
    series = stored("fieldwatch_window_effect_size", f'kind=~"{kind}"', bound=bound)
    return f"max by (model, version, kind, subject) ({series})"


def _differing(bound: str) -> str:
    """Take the effects that differ by more than chance."""
    differs = f"max by (model, version, kind, subject) ({stored('fieldwatch_window_differs')}) == 1"
    found = f"{_effect('.+', bound)} and ({differs})"
    return f'label_replace({found}, "subject", "all inputs", "subject", "")'


def _of_streams(metric: str) -> str:
    """Give a series without a mode that of its stream, for the rows of a table."""
    evidence = stored("fieldwatch_stream_evidence_ratio", 'mode!="balanced"')
    one = f"max by (model, version, stream, mode) ({evidence}) ^ 0"
    own = f"max by (model, version, stream) ({stored(metric)})"
    return f"{own} * on (model, version, stream) group_right () ({one})"


_NOW = Row(
    title="Now",
    panels=(
        tile(
            replace(
                _TILE,
                title="Alarms open",
                about="0 is normal. Only certified streams open alarms, and chance alone makes "
                "them do so no more often than the false-alarm budget allows.",
                steps=((1, RED),),
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift", "FieldwatchDriftTicket"),
            ),
            f"sum(model_kind_severity:fieldwatch_alarm_open:max{{{MODEL}}})",
        ),
        tile(
            replace(
                _TILE,
                title="It began",
                about="Best guess of when what the open alarms tell of began: the onset of the "
                "evidence, not the moment it was enough.",
                unit="dateTimeFromNow",
                empty="nothing began",
                base=ORANGE,
            ),
            f"min({BEGAN})",
        ),
        tile(
            replace(
                _TILE,
                title="Strongest evidence",
                about="Of all certified streams, against the threshold: an alarm opens at 1, and "
                "the stream begins again.",
                decimals=2,
                steps=((1, RED),),
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift"),
            ),
            f"max({CERTIFIED})",
        ),
        tile(
            replace(
                _TILE,
                title="Flagged, last window",
                about="Share of inputs flagged in the last complete window. In domain about what "
                "the reference was calibrated for, usually 5 %.",
                unit="percentunit",
                decimals=1,
                steps=SHARES,
                empty="too few",
                alerts=("FieldwatchFlaggedShareSlow", "FieldwatchFlaggedShareFast"),
            ),
            f"max({stored('fieldwatch_window_flagged_share', bound='estimate')})",
        ),
        tile(
            replace(
                _TILE,
                title="Differences",
                about="Properties, classes, segments and embeddings of the last window that "
                "differ from the reference by more than chance, corrected for how many are looked "
                "at. They explain; they never page. One now and then is nothing.",
                empty="too few",
                decimals=0,
                steps=((1, YELLOW),),
            ),
            f"sum({stored('fieldwatch_window_differs')})",
        ),
        tile(
            replace(
                _TILE,
                title="Last input",
                about="When the latest input of a model came in. A model that sees nothing raises "
                "no alarm.",
                unit="dateTimeFromNow",
            ),
            f"max({stored('fieldwatch_last_event_timestamp_seconds')}) * 1000",
        ),
    ),
)

_WHEN = Row(
    title="When it began",
    panels=(
        timeline(
            Place(
                title="Alarms",
                about="From when to when an alarm of each kind stood open, as a ticket or as a "
                "page. *novelty*: what training did not hold. *domain_drift*: the known under "
                "other conditions. The other kinds explain.",
                width=14,
                height=7,
                words=SEVERITIES,
                empty="No alarm was open",
                links=(ALARMS,),
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift", "FieldwatchDriftTicket"),
            ),
            Query(ALARM_BY_KIND, "{{model}} {{version}} {{kind}}"),
        ),
        sheet(
            Place(
                title="Open alarms",
                about="What stands open now and since when; empty is normal. The onset is the "
                "best guess of when the change happened.",
                width=10,
                height=7,
                empty="No alarm is open",
            ),
            (
                Column(
                    of="model",
                    title="Model",
                    link=(
                        "Its alarms (with a key)",
                        "${console}/v1/alarms?model=${__value.text}",
                    ),
                ),
                Column(of="version", title="Version", width=75),
                Column(of="kind", title="Kind"),
                Column(
                    of="severity",
                    title="Severity",
                    width=90,
                    text_colours={"page": RED, "ticket": ORANGE},
                ),
                Column(of="B", title="Began", unit="dateTimeAsIso", width=165),
            ),
            Query(OPEN),
            Query(OPEN_SINCE),
            by=("Severity", False),
        ),
    ),
)

_FLAGGED = Row(
    title="Out-of-domain inputs",
    panels=(
        chart(
            Place(
                title="Flagged share of each window, with its 95 % interval",
                about="Share of inputs flagged as out of domain. In domain it is about what the "
                "reference was calibrated for, usually 5 %. The lines are where the slow and the "
                "fast ticket open (over 6 hours and 1 hour). A gap is a window with too few "
                "inputs.",
                unit="percentunit",
                steps=SHARES,
                least=0,
                reach=1.1 * limit("FieldwatchFlaggedShareSlow"),
                links=(LOOK,),
                alerts=("FieldwatchFlaggedShareSlow", "FieldwatchFlaggedShareFast"),
            ),
            Query(
                f"max by (model, version, bound) ({stored('fieldwatch_window_flagged_share')})",
                "{{model}} {{version}} {{bound}}",
            ),
            bounds=True,
        ),
        chart(
            Place(
                title="Inputs with a p-value of at most 5 %",
                about="In domain 5 % of inputs have such a p-value, in either channel; the line "
                "is there. More of *semantic*: things unknown. More of *domain*: other conditions.",
                unit="percentunit",
                least=0,
                reach=0.1,
                steps=((0.05, GREY),),
            ),
            Query(_at_most("0.05"), "{{channel}}"),
        ),
        heat(
            Place(
                title="Semantic p-values",
                about="Share of inputs whose p-value is at most each row's edge, and above the "
                "row below. In domain all values are alike likely: the rows from 0.1 up are of "
                "one shade, and the narrow ones below fade out. A strong band at the bottom is "
                "inputs unlike anything in training. Exemplars carry the event's id.",
                height=9,
                unit="percentunit",
                alerts=("FieldwatchNovelty",),
            ),
            Query(_p_values("semantic"), "{{le}}", exemplar=True),
        ),
        heat(
            Place(
                title="Domain p-values",
                about="As beside, of the channel that looks at conditions: light, blur, another "
                "camera. A strong band at the bottom is a change of conditions; at the top alone, "
                "inputs that are too much like each other.",
                height=9,
                unit="percentunit",
                alerts=("FieldwatchDomainDrift",),
            ),
            Query(_p_values("domain"), "{{le}}", exemplar=True),
        ),
    ),
)

_EVIDENCE = Row(
    title="Evidence against the threshold, by stream",
    panels=(
        chart(
            Place(
                title="Certified streams",
                about="Log evidence over log threshold. In health it stays low and falls back; at "
                "1 an alarm opens and the stream begins again, often so soon that no scrape sees "
                "the 1: the alarms above do. The guarantee is for these: the mean time to a false "
                "alarm is at least what was set.",
                width=8,
                steps=((1, RED),),
                least=0,
                reach=1.05,
                links=(LOOK,),
                alerts=("FieldwatchNovelty", "FieldwatchDomainDrift", "FieldwatchDriftTicket"),
            ),
            Query(CERTIFIED, "{{model}} {{version}} {{stream}} ({{mode}})"),
        ),
        chart(
            Place(
                title="Charts: balanced and charted streams",
                about="Quicker, or against a reference that supports no promise. They open no "
                "alarm: past 1 is a hint to look at the certified stream beside.",
                width=8,
                steps=((1, YELLOW),),
                least=0,
                reach=1.05,
                links=(LOOK,),
            ),
            Query(
                stored("fieldwatch_stream_evidence_ratio", 'mode!="certified"'),
                "{{model}} {{version}} {{stream}} ({{mode}})",
            ),
        ),
        chart(
            Place(
                title="Segments: the strongest value of each",
                about="Greatest evidence among the values of a segment, such as among all sites. "
                "Certified ones alarm at 1. Which value it is, the console tells: a value comes "
                "with requests and is no label here. Empty without segments in the settings.",
                width=8,
                steps=((1, RED),),
                least=0,
                reach=1.05,
                empty="no segments are watched",
                links=(("Where it is (with a key)", "${console}/v1/affected"),),
            ),
            Query(
                stored("fieldwatch_segment_evidence_ratio", SEGMENT),
                "{{model}} {{version}} {{segment}} {{stream}} ({{mode}})",
            ),
        ),
        sheet(
            Place(
                title="Streams",
                about="Where every stream of all traffic stands. *Weight* is its part of the "
                "false-alarm budget; charts hold none. *Episodes* are counted since it last began.",
                width=17,
                height=9,
            ),
            (
                Column(of="model", title="Model"),
                Column(of="version", title="Version"),
                Column(of="stream", title="Stream"),
                Column(
                    of="mode",
                    title="Mode",
                    text_colours={"certified": GREEN, "balanced": GREY, "charted": GREY},
                ),
                Column(
                    of="A",
                    title="Evidence",
                    decimals=2,
                    steps=((1, RED),),
                ),
                Column(of="B", title="Episodes", unit="short", decimals=0),
                Column(of="C", title="Weight", unit="percentunit", decimals=0),
            ),
            Query(
                "max by (model, version, stream, mode) "
                f"({stored('fieldwatch_stream_evidence_ratio')})"
            ),
            Query(_of_streams("fieldwatch_stream_episodes")),
            Query(_of_streams("fieldwatch_stream_weight")),
            by=("Evidence", True),
        ),
        sheet(
            Place(
                title="Segment values watched",
                about="How many values of each segment are watched one by one, and how. Beyond "
                "the most that may be watched they are counted as left out: see *Monitor*.",
                width=7,
                height=9,
                empty="No segments are watched",
            ),
            (
                Column(of="model", title="Model"),
                Column(of="version", title="Version", width=75),
                Column(of="segment", title="Segment"),
                Column(of="mode", title="Mode"),
                Column(of="A", title="Values", decimals=0),
            ),
            Query(
                f"max by (model, segment, mode) ({stored('fieldwatch_segments_watched', SEGMENT)})"
            ),
        ),
    ),
)

_EFFECTS = Row(
    title="What moved: the last window against the reference",
    panels=(
        bars(
            Place(
                title="Properties",
                about="How far brightness, sharpness and so on are from the reference, in its "
                "standard deviations. Below 0.2 is little, above 0.8 is much. Effects explain and "
                "never page.",
                width=6,
                height=9,
                decimals=2,
                empty="Too few episodes",
                least=0,
                steps=((0.2, YELLOW), (0.8, ORANGE)),
                links=(LOOK,),
            ),
            Query(f"sort_desc({_effect('property')})", "{{model}} {{version}} {{subject}}"),
        ),
        bars(
            Place(
                title="Classes and segments",
                about="Share of episodes that would have to be of another class or segment value "
                "for the mix to be the reference's. *class_embedding* is how far the inputs of "
                "one class moved. Below 0.1 is little, above 0.3 is much.",
                width=9,
                height=9,
                decimals=2,
                least=0,
                most=1,
                steps=((0.1, YELLOW), (0.3, ORANGE)),
                empty="Nothing moved",
                links=(LOOK,),
            ),
            Query(
                f"topk(12, {_effect('classes|segment|class_embedding')} > 0)",
                "{{model}} {{version}} {{kind}} {{subject}}",
            ),
        ),
        sheet(
            Place(
                title="What differs by more than chance",
                about="Differences that hold after correcting for how many are looked at, with "
                "the lower end of their 95 % interval; each in the unit of its kind. Empty is "
                "normal.",
                width=9,
                height=9,
                empty="Nothing differs",
            ),
            (
                Column(of="model", title="Model", width=80),
                Column(of="version", title="Version", width=70),
                Column(of="kind", title="Kind", width=140),
                Column(of="subject", title="Subject"),
                Column(of="A", title="Effect", decimals=2, width=75),
                Column(of="B", title="At least", decimals=2, width=80),
            ),
            Query(_differing("estimate")),
            Query(_differing("low")),
            by=("Effect", True),
        ),
        chart(
            Place(
                title="Properties over time",
                about="The same, window by window: the one that leaves first, and when, is where "
                "to look.",
                empty="Too few episodes",
                least=0,
                links=(LOOK,),
            ),
            Query(_effect("property"), "{{model}} {{version}} {{subject}}"),
        ),
        chart(
            Place(
                title="Embedding, confidence and p-values over time",
                about="*embedding* is the distance (MMD) of what the network makes of the inputs, "
                "the others are standard deviations. Steady is normal, whatever the height.",
                empty="Too few episodes",
                least=0,
                links=(LOOK,),
            ),
            Query(
                _effect("embedding|confidence|p_semantic|p_domain|classes"),
                "{{model}} {{version}} {{kind}}",
            ),
        ),
    ),
)

BOARD = Board(
    name="domain-shift",
    title="Domain shift",
    about="Is what comes in still what the model was trained on; if not, what moved, where, and "
    "since when.",
    choices=(MODELS, SEGMENTS),
    rows=(_NOW, _WHEN, _FLAGGED, _EVIDENCE, _EFFECTS),
)
