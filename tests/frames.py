"""What Amazon streams, made frame by frame."""

import json
import struct
from base64 import b64encode
from zlib import crc32

TEXT = 7


def header(name: str, value: bytes, kind: int = TEXT) -> bytes:
    """One whose value says its length."""
    return bytes([len(name)]) + name.encode() + bytes([kind]) + struct.pack(">H", len(value)) + value


def enclosed(headers: bytes, payload: bytes) -> bytes:
    """A frame, with the checksums that make it one."""
    prelude = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    body = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return body + struct.pack(">I", crc32(body))


def frame(event_type: str, data: object) -> bytes:
    """An event, with the headers in which Bedrock sends it; bytes stand for themselves."""
    named = header(":event-type", event_type.encode())
    kind = header(":content-type", b"application/json")
    return enclosed(named + kind + header(":message-type", b"event"), _payload(data))


def exception(exception_type: str, message: str) -> bytes:
    named = header(":exception-type", exception_type.encode())
    kind = header(":content-type", b"application/json")
    return enclosed(named + kind + header(":message-type", b"exception"), _payload({"message": message}))


def chunk(event: object) -> bytes:
    """A piece of a model's own stream, as InvokeModel wraps it."""
    return frame("chunk", {"bytes": b64encode(_payload(event)).decode(), "p": "abcdef"})


def _payload(data: object) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
