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

cdef extern from "nghttp2/nghttp2.h":
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_rcbuf:
        pass
    ctypedef struct nghttp2_vec:
        uint8_t *base
        size_t len
    ctypedef struct nghttp2_nv:
        uint8_t *name
        uint8_t *value
        size_t namelen
        size_t valuelen
        uint8_t flags
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
    ctypedef struct nghttp2_headers:
        nghttp2_frame_hd hd
        int cat
    ctypedef struct nghttp2_ping:
        nghttp2_frame_hd hd
        uint8_t *opaque_data
    ctypedef struct nghttp2_goaway:
        nghttp2_frame_hd hd
        int32_t last_stream_id
        uint32_t error_code
    ctypedef union nghttp2_frame:
        nghttp2_frame_hd hd
        nghttp2_headers headers
        nghttp2_ping ping
        nghttp2_goaway goaway
    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value
    ctypedef union nghttp2_data_source:
        void *ptr
    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        ssize_t (*read_callback)(nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *, nghttp2_data_source *,
                                 void *) noexcept

    int NGHTTP2_DATA, NGHTTP2_HEADERS, NGHTTP2_SETTINGS, NGHTTP2_PING, NGHTTP2_GOAWAY
    int NGHTTP2_FLAG_NONE, NGHTTP2_FLAG_ACK, NGHTTP2_FLAG_END_STREAM
    int NGHTTP2_HCAT_HEADERS
    int NGHTTP2_NV_FLAG_NO_INDEX, NGHTTP2_NV_FLAG_NONE
    int NGHTTP2_NV_FLAG_NO_COPY_NAME
    int NGHTTP2_DATA_FLAG_EOF, NGHTTP2_DATA_FLAG_NO_END_STREAM, NGHTTP2_DATA_FLAG_NO_COPY
    int NGHTTP2_ERR_DEFERRED, NGHTTP2_ERR_WOULDBLOCK, NGHTTP2_ERR_CALLBACK_FAILURE
    int NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE, NGHTTP2_ERR_HTTP_HEADER, NGHTTP2_ERR_HTTP_MESSAGING
    int NGHTTP2_ERR_FLOODED
    int NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, NGHTTP2_SETTINGS_ENABLE_PUSH, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    int NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL

    int nghttp2_session_callbacks_new(nghttp2_session_callbacks **)
    void nghttp2_session_callbacks_set_on_begin_headers_callback(
        nghttp2_session_callbacks *, int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept)
    void nghttp2_session_callbacks_set_on_header_callback2(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, nghttp2_rcbuf *, nghttp2_rcbuf *, uint8_t, void *) noexcept)
    void nghttp2_session_callbacks_set_on_invalid_header_callback2(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, const nghttp2_frame *, nghttp2_rcbuf *, nghttp2_rcbuf *, uint8_t, void *) noexcept)
    void nghttp2_session_callbacks_set_on_frame_recv_callback(
        nghttp2_session_callbacks *, int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept)
    void nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        nghttp2_session_callbacks *, int (*)(nghttp2_session *, const nghttp2_frame *, int, void *) noexcept)
    void nghttp2_session_callbacks_set_on_frame_send_callback(
        nghttp2_session_callbacks *, int (*)(nghttp2_session *, const nghttp2_frame *, void *) noexcept)
    void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, uint8_t, int32_t, const uint8_t *, size_t, void *) noexcept)
    void nghttp2_session_callbacks_set_on_stream_close_callback(
        nghttp2_session_callbacks *, int (*)(nghttp2_session *, int32_t, uint32_t, void *) noexcept)
    void nghttp2_session_callbacks_set_send_data_callback(
        nghttp2_session_callbacks *,
        int (*)(nghttp2_session *, nghttp2_frame *, const uint8_t *, size_t, nghttp2_data_source *, void *) noexcept)
    int nghttp2_option_new(nghttp2_option **)
    void nghttp2_option_del(nghttp2_option *)
    void nghttp2_option_set_no_auto_window_update(nghttp2_option *, int)
    void nghttp2_option_set_no_closed_streams(nghttp2_option *, int)
    void nghttp2_option_set_max_send_header_block_length(nghttp2_option *, size_t)
    void nghttp2_option_set_max_deflate_dynamic_table_size(nghttp2_option *, size_t)
    int nghttp2_session_server_new2(nghttp2_session **, nghttp2_session_callbacks *, void *, nghttp2_option *)
    int nghttp2_session_client_new2(nghttp2_session **, nghttp2_session_callbacks *, void *, nghttp2_option *)
    void nghttp2_session_del(nghttp2_session *)
    ssize_t nghttp2_session_mem_recv(nghttp2_session *, const uint8_t *, size_t)
    ssize_t nghttp2_session_mem_send(nghttp2_session *, const uint8_t **)
    int nghttp2_submit_settings(nghttp2_session *, uint8_t, nghttp2_settings_entry *, size_t)
    int32_t nghttp2_submit_request(nghttp2_session *, void *, nghttp2_nv *, size_t, nghttp2_data_provider *, void *)
    int nghttp2_submit_response(nghttp2_session *, int32_t, nghttp2_nv *, size_t, nghttp2_data_provider *)
    int32_t nghttp2_submit_headers(nghttp2_session *, uint8_t, int32_t, void *, nghttp2_nv *, size_t, void *)
    int nghttp2_submit_trailer(nghttp2_session *, int32_t, nghttp2_nv *, size_t)
    int nghttp2_submit_rst_stream(nghttp2_session *, uint8_t, int32_t, uint32_t)
    int nghttp2_submit_ping(nghttp2_session *, uint8_t, const uint8_t *)
    int nghttp2_submit_goaway(nghttp2_session *, uint8_t, int32_t, uint32_t, const uint8_t *, size_t)
    int nghttp2_submit_shutdown_notice(nghttp2_session *)
    int nghttp2_session_terminate_session(nghttp2_session *, uint32_t)
    int nghttp2_session_resume_data(nghttp2_session *, int32_t)
    int nghttp2_session_consume_connection(nghttp2_session *, size_t)
    int nghttp2_session_consume_stream(nghttp2_session *, int32_t, size_t)
    int nghttp2_session_set_local_window_size(nghttp2_session *, uint8_t, int32_t, int32_t)
    uint32_t nghttp2_session_get_remote_settings(nghttp2_session *, int)
    int32_t nghttp2_session_get_last_proc_stream_id(nghttp2_session *)
    int nghttp2_session_want_read(nghttp2_session *)
    int nghttp2_session_want_write(nghttp2_session *)
    nghttp2_vec nghttp2_rcbuf_get_buf(nghttp2_rcbuf *)
    void nghttp2_rcbuf_incref(nghttp2_rcbuf *)
    void nghttp2_rcbuf_decref(nghttp2_rcbuf *)

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

# What every request says differently would only push out of the peer's table what is worth keeping.
cdef frozenset NOT_INDEXED = frozenset((b"x-request-id", b"traceparent", b"x-b3-traceid", b"x-b3-spanid", b"grpc-timeout"))

# The buffer that frames are written to, one session at a time.
DEF ROOM = 262144
DEF ENOUGH = 65536
DEF MOST_DATA = 131072
cdef uint8_t *OUT = <uint8_t *> malloc(ROOM)
cdef size_t out_size = 0

# Pairs and names by the address of what they were made of. An entry holds a reference, so that the address stays its own.
DEF PAIRS = 4096
DEF NAMES = 1024
DEF LONGEST_KEPT = 256

cdef struct KeptPair:
    nghttp2_rcbuf *name
    nghttp2_rcbuf *value
    PyObject *pair

cdef struct KeptName:
    nghttp2_rcbuf *name
    PyObject *text

cdef KeptPair[PAIRS] kept_pairs
cdef KeptName[NAMES] kept_names
memset(kept_pairs, 0, sizeof(kept_pairs))
memset(kept_names, 0, sizeof(kept_names))
cdef dict interned = {}


cdef inline bytes text_of(nghttp2_rcbuf *buffer):
    cdef nghttp2_vec vector = nghttp2_rcbuf_get_buf(buffer)
    return PyBytes_FromStringAndSize(<char *> vector.base, vector.len)


cdef bytes name_of(nghttp2_rcbuf *name):
    cdef KeptName *kept = &kept_names[(<uintptr_t> name >> 4) % NAMES]
    cdef bytes text
    if kept.name == name:
        return <bytes> kept.text
    text = text_of(name)
    if len(text) > LONGEST_KEPT:
        return text
    if len(interned) < 4096:
        text = <bytes> interned.setdefault(text, text)
    else:
        text = <bytes> interned.get(text, text)
    if kept.name != NULL:
        nghttp2_rcbuf_decref(kept.name)
        Py_DECREF(<object> kept.text)
    nghttp2_rcbuf_incref(name)
    Py_INCREF(text)
    kept.name = name
    kept.text = <PyObject *> text
    return text


cdef tuple pair_of(nghttp2_rcbuf *name, nghttp2_rcbuf *value):
    cdef KeptPair *kept = &kept_pairs[((<uintptr_t> name >> 4) ^ (<uintptr_t> value >> 5)) % PAIRS]
    cdef tuple pair
    if kept.name == name and kept.value == value:
        return <tuple> kept.pair
    pair = (name_of(name), text_of(value))
    if nghttp2_rcbuf_get_buf(value).len > LONGEST_KEPT or nghttp2_rcbuf_get_buf(name).len > LONGEST_KEPT:
        return pair
    if kept.name != NULL:
        nghttp2_rcbuf_decref(kept.name)
        nghttp2_rcbuf_decref(kept.value)
        Py_DECREF(<object> kept.pair)
    nghttp2_rcbuf_incref(name)
    nghttp2_rcbuf_incref(value)
    Py_INCREF(pair)
    kept.name = name
    kept.value = value
    kept.pair = <PyObject *> pair
    return pair


cdef class _Outgoing:
    """What waits to be sent on one stream."""

    cdef int32_t stream
    cdef bytes first
    cdef size_t offset  # in the first
    cdef object rest  # a deque, where there is more than one
    cdef size_t waiting
    cdef bint ended
    cdef bint high
    cdef list trailers

    cdef void add(self, bytes data):
        if self.first is None:
            self.first = data
            self.offset = 0
        else:
            if self.rest is None:
                self.rest = deque()
            self.rest.append(data)
        self.waiting += <size_t> PyBytes_GET_SIZE(data)

    cdef void take(self, uint8_t *to, size_t size):
        cdef size_t piece
        while size:
            piece = <size_t> PyBytes_GET_SIZE(self.first) - self.offset
            if piece > size:
                piece = size
            memcpy(to, PyBytes_AS_STRING(self.first) + self.offset, piece)
            to += piece
            size -= piece
            self.waiting -= piece
            self.offset += piece
            if self.offset == <size_t> PyBytes_GET_SIZE(self.first):
                self.first = <bytes> self.rest.popleft() if self.rest else None
                self.offset = 0


cdef class _Fields:
    """Header fields as libnghttp2 wants them. The pairs have to live as long as this."""

    cdef nghttp2_nv[96] few
    cdef nghttp2_nv *many
    cdef nghttp2_nv *start
    cdef size_t size

    def __dealloc__(self):
        if self.many != NULL:
            free(self.many)

    cdef int fill(self, list pairs) except -1:
        cdef Py_ssize_t count = len(pairs)
        cdef tuple pair
        cdef bytes name, value
        cdef nghttp2_nv *at
        if self.many != NULL:
            free(self.many)
            self.many = NULL
        self.start = self.few
        if count > 96:
            self.many = <nghttp2_nv *> malloc(count * sizeof(nghttp2_nv))
            if self.many == NULL:
                raise MemoryError
            self.start = self.many
        at = self.start
        for pair in pairs:
            name, value = <bytes?> pair[0], <bytes?> pair[1]
            at.name = <uint8_t *> PyBytes_AS_STRING(name)
            at.namelen = PyBytes_GET_SIZE(name)
            at.value = <uint8_t *> PyBytes_AS_STRING(value)
            at.valuelen = PyBytes_GET_SIZE(value)
            at.flags = NGHTTP2_NV_FLAG_NO_INDEX if name in NOT_INDEXED else NGHTTP2_NV_FLAG_NONE
            at += 1
        self.size = count
        return 0


cdef _Fields fields = _Fields()  # libnghttp2 copies what it is given


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


# What libnghttp2 calls. An exception is kept, and raised where libnghttp2 was called from.

cdef int on_begin_headers(nghttp2_session *_, const nghttp2_frame *frame, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    try:
        self.begin_headers()
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_header(nghttp2_session *_, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                   uint8_t flags, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    try:
        if self.header(frame, name, value):
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                           nghttp2_rcbuf *value, uint8_t flags, void *data) noexcept:
    """A field that libnghttp2 would only leave out: the message is malformed (RFC 9113 8.2.1)."""
    cdef NativeSession self = <NativeSession> data
    try:
        self.pairs = None
        self.malformed = frame.hd.stream_id
        self.events.append((MALFORMED, frame.hd.stream_id, _BAD_FIELD, False))
        nghttp2_submit_rst_stream(session, 0, frame.hd.stream_id, h2_session.PROTOCOL_ERROR)
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int on_frame_received(nghttp2_session *_, const nghttp2_frame *frame, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    try:
        self.frame_received(frame)
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_invalid_frame(nghttp2_session *_, const nghttp2_frame *frame, int code, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    if code != NGHTTP2_ERR_HTTP_HEADER and code != NGHTTP2_ERR_HTTP_MESSAGING:
        return 0
    if self.malformed == frame.hd.stream_id:
        return 0
    try:
        self.pairs = None
        why = _BAD_FIELD if code == NGHTTP2_ERR_HTTP_HEADER else _BAD_MESSAGE
        self.events.append((MALFORMED, frame.hd.stream_id, why, False))
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    cdef int kind = frame.hd.type
    if kind == NGHTTP2_GOAWAY:
        if frame.goaway.error_code:
            self.error_sent = frame.goaway.error_code
    elif kind == NGHTTP2_DATA or kind == NGHTTP2_HEADERS:
        try:
            if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
                self.sent.append(frame.hd.stream_id)
            if kind == NGHTTP2_HEADERS and not self.server and frame.hd.stream_id > self.last_begun:
                self.last_begun = frame.hd.stream_id
                if self.late_resets:
                    code = self.late_resets.pop(frame.hd.stream_id, None)
                    if code is not None:
                        nghttp2_submit_rst_stream(session, 0, frame.hd.stream_id, code)
        except BaseException as error:
            self.failure = error
            return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_data(nghttp2_session *_, uint8_t flags, int32_t stream, const uint8_t *chunk, size_t size,
                 void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    try:
        self.data_received(stream, chunk, size)
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int on_stream_close(nghttp2_session *_, int32_t stream, uint32_t code, void *data) noexcept:
    cdef NativeSession self = <NativeSession> data
    try:
        self.stream_closed(stream, code)
    except BaseException as error:
        self.failure = error
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef ssize_t read_data(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t length, uint32_t *flags,
                       nghttp2_data_source *source, void *data) noexcept:
    """How much of a body goes into the next frame; `on_send_data` puts it there."""
    cdef _Outgoing outgoing = <_Outgoing> source.ptr
    cdef NativeSession self
    cdef size_t size = outgoing.waiting
    if size > length:
        size = length
    if not size and not outgoing.ended:
        return NGHTTP2_ERR_DEFERRED
    flags[0] |= NGHTTP2_DATA_FLAG_NO_COPY
    if size == outgoing.waiting and outgoing.ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        if outgoing.trailers is not None:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
            self = <NativeSession> data
            try:
                fields.fill(outgoing.trailers)
            except BaseException as error:
                self.failure = error
                return NGHTTP2_ERR_CALLBACK_FAILURE
            nghttp2_submit_trailer(session, stream, fields.start, fields.size)
    return size


cdef int on_send_data(nghttp2_session *_, nghttp2_frame *frame, const uint8_t *head, size_t length,
                      nghttp2_data_source *source, void *data) noexcept:
    global out_size
    cdef NativeSession self = <NativeSession> data
    cdef _Outgoing outgoing = <_Outgoing> source.ptr
    if out_size and out_size + 9 + length > MOST_DATA:
        return NGHTTP2_ERR_WOULDBLOCK
    memcpy(OUT + out_size, head, 9)
    out_size += 9
    outgoing.take(OUT + out_size, length)
    out_size += length
    self.data_frames += 1
    if outgoing.high and outgoing.waiting <= LOW:
        outgoing.high = False
        try:
            self.drained.append(outgoing.stream)
        except BaseException as error:
            self.failure = error
            return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


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
