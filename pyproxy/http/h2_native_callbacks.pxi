# Part of h2_native.pyx: what libnghttp2 calls. An exception is kept, and raised where libnghttp2 was called from.

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
    elif kind == NGHTTP2_RST_STREAM:
        if frame.rst_stream.error_code == NGHTTP2_REFUSED_STREAM:
            self.refused += 1
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
