"""What each anomaly means, and what was made of it: the one table of their names.

An anomaly says that a provider contradicted itself, or that we could not read something. Its name is kept with the
call, and calls are counted by it: `accounting report --by anomaly`. Nothing is corrected without one.
"""

from dataclasses import dataclass

from accounting.limits import MAX_BODY, MAX_EVENT


@dataclass(frozen=True, slots=True)
class Meaning:
    """What was off, and the rule that was applied."""

    what: str
    rule: str


def meaning(anomaly: str) -> Meaning | None:
    """None for a name that this version does not know."""
    known = _NAMES.get(anomaly)
    if known is not None:
        return known
    found = ((family, anomaly.removeprefix(family.prefix).removesuffix(family.suffix)) for family in _FAMILIES)
    fits = (family.of(name) for family, name in found if name and anomaly == f"{family.prefix}{name}{family.suffix}")
    return next(fits, None)


_UNKNOWN = "It is unknown."
_AT_MOST = "It is taken to be all of that."
_IN_NO_COST = "They are in no cost; a price of 0 says that they are free."
_AS_STATED = "Each part is taken as it is stated; the total is only kept."

_NAMES = {
    # The price
    "unpriced_service_tier": Meaning(
        "A service tier served the call that no rate names; the model's rates are for other tiers.",
        "What it cost is unknown.",
    ),
    # The whole answer
    "body_too_large": Meaning(
        f"The answer is larger than the {MAX_BODY >> 20} MiB that are read whole, and its two ends state no usage.",
        "The counts are unknown.",
    ),
    "body_unreadable": Meaning(
        "The answer is no JSON and no stream of events: cut, broken, still compressed, or of another kind.",
        "Nothing was read.",
    ),
    "encoding_broken": Meaning("The answer's compression is broken.", "Nothing past the break was read."),
    "event_too_large": Meaning(
        f"An event of the stream is larger than the {MAX_EVENT >> 20} MiB that are read.",
        "What it may have stated is not in the counts.",
    ),
    "event_unreadable": Meaning(
        "A frame of the stream is damaged, or larger than is read.", "What it may have stated is not in the counts."
    ),
    "format_unread": Meaning(
        "The endpoint costs money, and how its answers state their usage is not read yet.",
        "The block is kept; the counts are unknown.",
    ),
    "format_unknown": Meaning("Neither a path nor the answer's shape tells its format.", "Nothing was read."),
    "list_unread": Meaning(
        "The answer is a list, where its format's answers are one object or a stream.", "Nothing was read."
    ),
    # The usage block
    "usage_absent": Meaning(
        "The answer, or what came of it, states no usage: none was asked for, it comes later, or there is none.",
        "The counts are unknown.",
    ),
    "block_too_large": Meaning("The usage block is longer than is kept.", "The counts were read; the block is cut."),
    "block_text_cut": Meaning(
        "A text in the usage block is longer than is kept.",
        "Its beginning is kept; counts and names stay as they were.",
    ),
    "block_unreadable": Meaning(
        "The usage block can't be written as JSON.", "The counts were read; the block is not kept."
    ),
    "duplicate_keys": Meaning("The usage block, or a name in it, stands twice.", "The last one holds."),
    "usage_unreadable": Meaning(
        "There is a usage block, and none of its counts can be read.", "The usage counts as missing."
    ),
    "input_missing": Meaning("The output is stated, and the input is not.", "It is unknown; the usage is partial."),
    "output_missing": Meaning("The input is stated, and the output is not.", "It is unknown; the usage is partial."),
    "cost_unreadable": Meaning("The cost that the provider states is no sum of money.", _UNKNOWN),
    # What the books found
    "stamping_failed": Meaning(
        "The call could not be priced through a fault of this program.", "It is stored without a price."
    ),
    "unpriced_web_searches": Meaning("The model's rate has no price for web searches.", _IN_NO_COST),
    "unpriced_images": Meaning("The model's rate has no price for images.", _IN_NO_COST),
    "unpriced_audio_seconds": Meaning("The model's rate has no price for seconds of audio.", _IN_NO_COST),
    # Sums that don't add up
    "total_mismatch": Meaning("The total is not the sum of its parts.", _AS_STATED),
    "hidden_output": Meaning(
        "The total is more than all its parts, as with reasoning that is not shown.", "The rest counts as output."
    ),
    "output_withdrawn": Meaning(
        "The last event of the stream states no output, though earlier ones did.",
        "The provider's last word holds.",
    ),
    "usage_fell": Meaning(
        "A later event of the stream states less than an earlier one: its counts may be no running sums.",
        "The last one holds that counts anything.",
    ),
    "cached_beside_input": Meaning(
        "The total shows that the cached tokens stand beside the input, not in it.", "They are added to it."
    ),
    "audio_beside_input": Meaning(
        "The total shows that the tokens of audio stand beside the input, not in it.", "They are added to it."
    ),
    "reasoning_inside_candidates": Meaning(
        "The total shows that the thoughts are inside the candidates, where they usually stand beside.",
        "They are not added.",
    ),
    "cache_split_mismatch": Meaning(
        "What hit the cache and what missed it are not the prompt.", "The prompt and the hits hold."
    ),
    "cache_write_mismatch": Meaning(
        "The tokens written to the cache are fewer than their breakdown by lifetime.", "The breakdown holds."
    ),
    "iterations_mismatch": Meaning(
        "The counts at the top are not those of the iterations that they sum up.", "The counts at the top hold."
    ),
    "iterations_unread": Meaning(
        "Some iterations are of a kind that is not known, or can't be read.", "The counts at the top hold."
    ),
    "fallback_credit_redeemed": Meaning(
        "A credit for a declined answer was used, which nobody states in tokens.", "The counts are as stated."
    ),
    "duration_taken_for_usage": Meaning(
        "The answer states no usage, only how long its audio is.", "The seconds are taken from that."
    ),
    # Parts larger than their wholes
    "cached_exceeds_input": Meaning("More tokens came from the cache than went in.", _AT_MOST),
    "cache_write_exceeds_input": Meaning(
        "More tokens were written to the cache than went in and did not come from it.", _AT_MOST
    ),
    "cache_write_1h_exceeds_cache_write": Meaning(
        "More tokens were written to the cache for an hour than were written to it at all.", _AT_MOST
    ),
    "audio_exceeds_input": Meaning("There are more tokens of audio than went in.", _AT_MOST),
    "images_exceed_input": Meaning("There are more tokens of images than went in.", _AT_MOST),
    "reasoning_exceeds_output": Meaning("There are more reasoning tokens than came out.", _AT_MOST),
    "audio_exceeds_output": Meaning("There are more tokens of audio than came out.", _AT_MOST),
    "images_exceed_output": Meaning("There are more tokens of images than came out.", _AT_MOST),
}


NAMES = tuple(_NAMES)
"""All but those of the families, which are named after what varies."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Anomalies that are named after what they are about; `{}` stands for it."""

    prefix: str
    suffix: str
    what: str
    rule: str

    def of(self, name: str) -> Meaning:
        return Meaning(self.what.format(name), self.rule)


_FAMILIES = (
    _Family("shape_of_", "", "The answer is in the shape of {}, not of its endpoint's format.", "It is read as that."),
    _Family("encoding_", "", "The answer is compressed as {}, which is not read.", "It passed to the caller unread."),
    _Family("", "_counts_differ", "The block states {} at two places, and not the same.", "The first one holds."),
    _Family("", "_negative", "{} is below zero.", _UNKNOWN),
    _Family("", "_too_large", "{} is more than any call can use.", _UNKNOWN),
    _Family("", "_text", "{} is a number written as text.", "It is taken as the number."),
    _Family("", "_fraction", "{} is not a whole number.", "It is rounded up."),
    _Family("", "_unreadable", "{} is no number.", _UNKNOWN),
)
