from bridge import sse


def decoded(*pieces: bytes) -> list[sse.Event]:
    decoder = sse.Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def test_an_event_is_its_id_then_its_data_then_a_blank_line() -> None:
    assert sse.event(b'{"chunk":"a"}', "r:0-1") == b'id: r:0-1\ndata: {"chunk":"a"}\n\n'
    assert sse.event(b"{}") == b"data: {}\n\n"
    assert sse.DONE == b"data: [DONE]\n\n"


def test_what_is_encoded_comes_back_however_the_bytes_are_cut() -> None:
    text = "für \u2028 x\x85y 日本".encode()
    stream = sse.event(text, "r:0-1") + sse.HEARTBEAT + sse.event(b"b", "r:0-2") + sse.DONE
    expected = [
        sse.Event(text.decode(), "r:0-1"),
        sse.Event("b", "r:0-2"),
        sse.Event(sse.END, "r:0-2"),
    ]
    assert decoded(stream) == expected
    assert decoded(*(bytes([byte]) for byte in stream)) == expected


def test_lines_may_end_in_crlf_or_cr_also_when_a_crlf_is_cut_in_two() -> None:
    assert decoded(b"data: a\r", b"\n\r", b"\ndata: b\r\r", b"data: c\r\n\r\n") == [
        sse.Event("a"),
        sse.Event("b"),
        sse.Event("c"),
    ]


def test_several_data_lines_are_one_event_and_unknown_fields_are_ignored() -> None:
    assert decoded(b"event: x\nretry: 5\ndata: a\ndata:b\ndata\n: note\n\n") == [sse.Event("a\nb\n")]


def test_a_heartbeat_is_no_event_and_an_event_without_its_end_is_dropped() -> None:
    assert decoded(sse.HEARTBEAT, b"data: cut off\n") == []


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert decoded(b"\xef\xbb\xbfdata: a\n\n") == [sse.Event("a")]
