"""How much of what others send is read. What is larger passes on to the caller all the same, unread and flagged.

| what | limit | past it |
|---|---|---|
| a body, decoded | `MAX_BODY` | read at its two ends; `body_too_large` where they state no usage |
| a compressed body or stream, unpacked; one that is not may be endless | `MAX_UNPACKED` | `body_too_large` |
| one event of a stream | `MAX_EVENT` | `event_too_large` |
| objects and arrays in each other | `MAX_DEPTH`, or Python's recursion limit | `body_unreadable` |
| a count | `usage.MAX_COUNT` | unknown, `<name>_too_large` |
| the usage block as it is kept | `usage.MAX_BLOCK` | cut, `block_too_large` |
| a text in it | `counts.MAX_BLOCK_TEXT` | cut, `block_text_cut` |
| any other text that is kept: a model, an id | `usage.MAX_TEXT` | cut |
| a sum that a provider states | `wire.MAX_COST`, `wire.MAX_COST_DECIMALS` | unknown, `cost_unreadable` |

In memory a body is held once as it came and once as text. Parsed it takes, for a moment, twice its bytes for text and
pictures, seven times for embeddings, and thirty times for JSON of nothing but empty objects.
"""

MAX_BODY = 16 * 2**20
"""Bytes of a body, decoded, that are held and parsed."""

MAX_UNPACKED = 256 * 2**20
"""Bytes that a compressed answer is unpacked to, in small pieces: a hundred times what the longest streams are."""

MAX_EVENT = 2**20
"""Bytes of an event that are held until its end. Pieces of a larger one are shown to its reader as they pass: the last
event of a Responses stream, or of one that draws, repeats the whole answer."""

MAX_DEPTH = 1000
"""Levels of nesting that are parsed where Python would go deeper, down to where the C stack ends."""
