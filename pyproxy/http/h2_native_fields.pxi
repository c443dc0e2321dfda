# Header fields on their way into libnghttp2 and out of it, and bodies that wait to go out: part of h2_native.pyx.

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
