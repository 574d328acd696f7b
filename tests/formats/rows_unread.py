"""What costs money and can't be read yet: recorded, its usage missing."""

from tests.formats.catalogue import Row

ROWS = [
    Row(
        name="OpenAI Realtime: a call is recorded, and its usage goes over a socket of its own",
        provider="openai",
        path="/v1/realtime/calls",
        content_type="application/sdp",
        sent=b"v=0\r\no=- 4215775240449105457 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
        usage={},
        source="missing",
        anomalies=("body_unreadable",),
    ),
    Row(
        name="OpenAI batches: what a batch will use is not known when it is made",
        provider="openai",
        path="/v1/batches",
        sent={"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "status": "validating"},
        usage={},
        source="missing",
        anomalies=("format_unread",),
        told_by_shape=False,
        told_by_shape_alone=False,
    ),
]
