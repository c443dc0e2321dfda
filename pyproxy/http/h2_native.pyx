# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""HTTP/2 sessions on libnghttp2: the fast engine. `http.h2_py` is the pure twin (see `http.h2_session`).

Everything that is the same for all frames stays in C; what comes up is one tuple per message head and per piece of
a body. Header fields that stand in a compression table are the same objects in C each time, so the pairs made of them
are kept and found by address.
"""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_Append
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from pyproxy.http import h2_session
from pyproxy.http.h2_session import Malformed

ENGINE = "nghttp2"

include "h2_native_library.pxi"

# Constants of the interface, as C integers.
cdef int HEADERS = h2_session.HEADERS
cdef int DATA = h2_session.DATA
cdef int TRAILERS = h2_session.TRAILERS
cdef int MALFORMED = h2_session.MALFORMED
cdef int GOAWAY = h2_session.GOAWAY
cdef int PONG = h2_session.PONG
cdef int SETTINGS = h2_session.SETTINGS
cdef int WHOLE = h2_session.WHOLE
cdef size_t HIGH = h2_session.HIGH_WATERMARK
cdef size_t LOW = h2_session.HIGH_WATERMARK // 2
cdef uint32_t UNTIL_TOLD = 100  # streams at a time, before the peer has said how many it takes

_TOO_LARGE = Malformed(h2_session.INTERNAL_ERROR, "http2.header_list_size_too_large", True)
_TOO_MANY = Malformed(h2_session.INTERNAL_ERROR, "http2.too_many_headers", True)
_BAD_FIELD = Malformed(h2_session.PROTOCOL_ERROR, "http2.invalid.header.field")
_BAD_MESSAGE = Malformed(h2_session.PROTOCOL_ERROR, "http2.violation.of.messaging.rule")

include "h2_native_fields.pxi"


cdef class NativeSession:
    """See `http.h2_session.Session`."""

    cdef nghttp2_session *session
    cdef bint server
    cdef bint heard  # the peer's settings
    cdef list events
    cdef dict begun  # stream -> (where in `events` its head is, where its only piece of body is or -1)
    cdef bint holes  # there are some in `events`
    cdef list pairs  # of the header block that is being read
    cdef size_t block_size
    cdef size_t block_count
    cdef size_t most_size
    cdef size_t most_count
    cdef dict outgoing
    cdef int32_t last_begun  # the last of our streams that went out
    cdef dict late_resets  # stream -> error code, of those that did not
    cdef int32_t malformed  # the stream of which it was last told so
    cdef set interim  # streams whose final response is still to come
    cdef object failure
    cdef int error_sent
    cdef public list drained
    cdef public list closed
    cdef public list sent
    cdef public Py_ssize_t data_frames
    cdef public Py_ssize_t refused

    def __cinit__(self):
        self.session = NULL

    def __init__(self, bint server, options):
        cdef nghttp2_option *option
        cdef nghttp2_settings_entry[5] entries
        cdef size_t count = 0
        cdef int failed
        self.server = server
        self.events = []
        self.begun = {}
        self.drained = []
        self.closed = []
        self.sent = []
        self.outgoing = {}
        self.interim = set()
        self.late_resets = {}
        self.pairs = None
        self.error_sent = -1
        self.most_size = options.headers_kb * 1024
        self.most_count = options.header_count
        nghttp2_option_new(&option)
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_no_closed_streams(option, 1)
        nghttp2_option_set_max_send_header_block_length(option, 16 * 1024 * 1024)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, options.header_table)
        if server:
            failed = nghttp2_session_server_new2(&self.session, CALLBACKS, <void *> self, option)
        else:
            failed = nghttp2_session_client_new2(&self.session, CALLBACKS, <void *> self, option)
        nghttp2_option_del(option)
        if failed:
            raise MemoryError
        if options.header_table != 4096:
            entries[count].settings_id = NGHTTP2_SETTINGS_HEADER_TABLE_SIZE
            entries[count].value = options.header_table
            count += 1
        if not server:
            entries[count].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
            entries[count].value = 0
            count += 1
        entries[count].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        entries[count].value = options.max_concurrent_streams
        count += 1
        entries[count].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        entries[count].value = options.stream_window
        count += 1
        if server and options.allow_connect:
            entries[count].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
            entries[count].value = 1
            count += 1
        nghttp2_submit_settings(self.session, 0, entries, count)
        nghttp2_session_set_local_window_size(self.session, 0, 0, options.connection_window)

    def __dealloc__(self):
        if self.session != NULL:
            nghttp2_session_del(self.session)

    # Receiving

    def receive(self, bytes data not None):
        cdef ssize_t read
        cdef list events
        read = nghttp2_session_mem_recv(
            self.session, <uint8_t *> PyBytes_AS_STRING(data), <size_t> PyBytes_GET_SIZE(data))
        events = self.events
        self.events = []
        if self.begun:
            self.begun = {}
        if self.holes:
            self.holes = False
            events = [event for event in events if event is not None]
        if read < 0:
            if self.failure is not None:
                failure, self.failure = self.failure, None
                raise failure
            self.error_sent = h2_session.ENHANCE_YOUR_CALM if read == NGHTTP2_ERR_FLOODED else h2_session.PROTOCOL_ERROR
            nghttp2_session_terminate_session(self.session, self.error_sent)
        return events

    cdef int begin_headers(self) except -1:
        self.pairs = []
        self.block_size = self.block_count = 0
        return 0

    cdef int header(self, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value) except -1:
        """Gives 1 where the block has become too large."""
        self.block_size += nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len
        self.block_count += 1
        if self.block_size > self.most_size or self.block_count > self.most_count + 4:
            return self.too_large(
                frame.hd.stream_id, _TOO_LARGE if self.block_size > self.most_size else _TOO_MANY)
        PyList_Append(self.pairs, pair_of(name, value))
        return 0

    cdef int too_large(self, int32_t stream, object why) except -1:
        self.pairs = None
        self.events.append((MALFORMED, stream, why, False))
        return 1

    cdef int frame_received(self, const nghttp2_frame *frame) except -1:
        cdef int kind = frame.hd.type
        cdef int32_t stream = frame.hd.stream_id
        cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
        cdef list events = self.events
        cdef tuple last
        if kind == NGHTTP2_DATA:
            if ended:
                if self.begun and self.complete(stream, None):
                    return 0
                if events and events[len(events) - 1] is not None:
                    last = <tuple> events[len(events) - 1]
                    if last[0] == DATA and last[1] == stream:
                        events[len(events) - 1] = (DATA, stream, last[2], True)
                        return 0
                events.append((DATA, stream, b"", True))
        elif kind == NGHTTP2_HEADERS:
            pairs, self.pairs = self.pairs, None
            if pairs is None:
                return 0
            return self.headers_received(stream, <list> pairs, ended, frame.headers.cat)
        elif kind == NGHTTP2_SETTINGS:
            if not frame.hd.flags & NGHTTP2_FLAG_ACK:
                self.heard = True
                events.append((SETTINGS, 0, None, False))
        elif kind == NGHTTP2_PING:
            if frame.hd.flags & NGHTTP2_FLAG_ACK:
                events.append((PONG, 0, PyBytes_FromStringAndSize(<char *> frame.ping.opaque_data, 8), False))
        elif kind == NGHTTP2_GOAWAY:
            events.append((GOAWAY, frame.goaway.last_stream_id, frame.goaway.error_code, False))
        return 0

    cdef int headers_received(self, int32_t stream, list pairs, bint ended, int category) except -1:
        cdef bytes name
        cdef Py_ssize_t fields = 0
        if self.block_count > self.most_count:  # pseudo-header fields are none of those that are counted
            for pair in pairs:
                name = <bytes> (<tuple> pair)[0]
                if PyBytes_AS_STRING(name)[0] != b":":
                    fields += 1
            if fields > <Py_ssize_t> self.most_count:
                self.too_large(stream, _TOO_MANY)
                nghttp2_submit_rst_stream(self.session, 0, stream, h2_session.INTERNAL_ERROR)
                return 0
        if category == NGHTTP2_HCAT_HEADERS and not (not self.server and stream in self.interim):
            if not (self.begun and self.complete(stream, pairs)):
                self.events.append((TRAILERS, stream, pairs, True))
            return 0
        if not self.server:
            if pairs and (<bytes> (<tuple> pairs[0])[1])[:1] == b"1":
                self.interim.add(stream)
            elif self.interim:
                self.interim.discard(stream)
        if not ended:
            self.begun[stream] = (len(self.events), -1)
        self.events.append((HEADERS, stream, pairs, ended))
        return 0

    cdef bint complete(self, int32_t stream, object trailers) except -1:
        """A message has ended. If it began with these bytes, and is short, it becomes one event."""
        cdef object places = self.begun.pop(stream, None)
        cdef Py_ssize_t head, piece
        cdef bytes body = b""
        if places is None:
            return False
        head, piece = <tuple> places
        if piece >= 0:
            body = <bytes> (<tuple> self.events[piece])[2]
            self.events[piece] = None
            self.holes = True
        self.events[head] = (WHOLE, stream, ((<tuple> self.events[head])[2], body, trailers), True)
        return True

    cdef int data_received(self, int32_t stream, const uint8_t *data, size_t size) except -1:
        cdef object places
        nghttp2_session_consume_connection(self.session, size)
        if self.begun:
            places = self.begun.pop(stream, None)
            if places is not None and (<tuple> places)[1] < 0:
                self.begun[stream] = ((<tuple> places)[0], len(self.events))
        self.events.append((DATA, stream, PyBytes_FromStringAndSize(<char *> data, size), False))
        return 0

    cdef int stream_closed(self, int32_t stream, uint32_t code) except -1:
        if self.outgoing:
            self.outgoing.pop(stream, None)
        if self.interim:
            self.interim.discard(stream)
        self.closed.append((stream, code))
        return 0

    # Sending

    def pull(self):
        global out_size
        cdef const uint8_t *data
        cdef ssize_t size
        out_size = 0
        while out_size < ENOUGH:
            size = nghttp2_session_mem_send(self.session, &data)
            if size <= 0:
                break
            if out_size + size > ROOM:  # not a frame that is made here
                raise RuntimeError("a frame that is too large")
            memcpy(OUT + out_size, data, size)
            out_size += size
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return PyBytes_FromStringAndSize(<char *> OUT, out_size) if out_size else b""

    cdef _Outgoing body_of(self, int32_t stream, bytes data, bint ended):
        cdef _Outgoing outgoing = _Outgoing.__new__(_Outgoing)
        outgoing.stream = stream
        if PyBytes_GET_SIZE(data):
            outgoing.add(data)
        outgoing.ended = ended
        return outgoing

    def request(self, list pairs not None, bytes body not None, bint ended):
        cdef nghttp2_data_provider provider
        cdef _Outgoing outgoing = None
        cdef int32_t stream
        fields.fill(pairs)
        if ended and not PyBytes_GET_SIZE(body):
            stream = nghttp2_submit_request(self.session, NULL, fields.start, fields.size, NULL, NULL)
        else:
            outgoing = self.body_of(0, body, ended)
            provider.source.ptr = <void *> outgoing
            provider.read_callback = read_data
            stream = nghttp2_submit_request(self.session, NULL, fields.start, fields.size, &provider, NULL)
        if stream <= 0:
            return 0
        if outgoing is not None:
            outgoing.stream = stream
            self.outgoing[stream] = outgoing
        return stream

    def respond(self, int32_t stream, list pairs not None, bytes body not None, bint ended):
        cdef nghttp2_data_provider provider
        cdef _Outgoing outgoing
        fields.fill(pairs)
        if ended and not PyBytes_GET_SIZE(body):
            nghttp2_submit_response(self.session, stream, fields.start, fields.size, NULL)
            return
        outgoing = self.body_of(stream, body, ended)
        provider.source.ptr = <void *> outgoing
        provider.read_callback = read_data
        self.outgoing[stream] = outgoing
        if nghttp2_submit_response(self.session, stream, fields.start, fields.size, &provider):
            self.outgoing.pop(stream, None)

    def inform(self, int32_t stream, list pairs not None):
        fields.fill(pairs)
        nghttp2_submit_headers(self.session, NGHTTP2_FLAG_NONE, stream, NULL, fields.start, fields.size, NULL)

    def send_data(self, int32_t stream, bytes data not None, bint ended):
        cdef _Outgoing outgoing = <_Outgoing> self.outgoing.get(stream)
        if outgoing is None or outgoing.ended:
            return True
        if PyBytes_GET_SIZE(data):
            outgoing.add(data)
        outgoing.ended = ended
        nghttp2_session_resume_data(self.session, stream)
        if outgoing.waiting > HIGH and not ended:
            outgoing.high = True
            return False
        return True

    def send_trailers(self, int32_t stream, list pairs not None):
        cdef _Outgoing outgoing = <_Outgoing> self.outgoing.get(stream)
        if outgoing is None or outgoing.ended:
            return
        outgoing.trailers = pairs
        outgoing.ended = True
        nghttp2_session_resume_data(self.session, stream)

    def reset(self, int32_t stream, uint32_t code):
        if not self.server and stream > self.last_begun:  # the reset would go out before the head
            self.late_resets[stream] = code
            return
        nghttp2_submit_rst_stream(self.session, 0, stream, code)

    def consume(self, int32_t stream, size_t size):
        nghttp2_session_consume_stream(self.session, stream, size)

    def waiting(self, int32_t stream):
        cdef _Outgoing outgoing = <_Outgoing> self.outgoing.get(stream)
        return 0 if outgoing is None else outgoing.waiting

    def ping(self, bytes payload not None):
        if PyBytes_GET_SIZE(payload) != 8:
            raise ValueError("a PING carries 8 bytes")
        nghttp2_submit_ping(self.session, 0, <uint8_t *> PyBytes_AS_STRING(payload))

    def notice(self):
        nghttp2_submit_shutdown_notice(self.session)

    def goaway(self, uint32_t code):
        nghttp2_submit_goaway(
            self.session, 0, nghttp2_session_get_last_proc_stream_id(self.session), code, NULL, 0)

    def terminate(self, uint32_t code):
        nghttp2_session_terminate_session(self.session, code)

    def room(self):
        cdef uint32_t said = nghttp2_session_get_remote_settings(
            self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        return said if self.heard or said < UNTIL_TOLD else UNTIL_TOLD

    def takes_connect(self):
        return nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1

    @property
    def error(self):
        return self.error_sent

    @property
    def finished(self):
        return not nghttp2_session_want_read(self.session) and not nghttp2_session_want_write(self.session)


include "h2_native_callbacks.pxi"

cdef nghttp2_session_callbacks *CALLBACKS
nghttp2_session_callbacks_new(&CALLBACKS)
nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
nghttp2_session_callbacks_set_on_header_callback2(CALLBACKS, on_header)
nghttp2_session_callbacks_set_on_invalid_header_callback2(CALLBACKS, on_invalid_header)
nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame_received)
nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(CALLBACKS, on_invalid_frame)
nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_frame_sent)
nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_data)
nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_stream_close)
nghttp2_session_callbacks_set_send_data_callback(CALLBACKS, on_send_data)
