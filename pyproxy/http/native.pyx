# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""What is done for every request, in C: heads of HTTP/1 are looked up and written, coroutines go on.

Nothing is judged here. A line that was read before is found by its bytes; every other one is read by the function that
the table was given, which is where the grammar is. `http.pure` holds the twins in Python; that of `LineWriter` is the
function that `telemetry.formatter_source` makes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_New, PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject_GetAttr
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from cpython.set cimport PySet_Contains
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void *memmem(const void *haystack, size_t size, const void *needle, size_t length) nogil

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(PyObject *iterator, PyObject *value, PyObject **result) except PYGEN_ERROR

cdef enum:
    ENTRIES = 2048  # a power of two

cdef struct Entry:
    uint64_t hash
    PyObject *line
    PyObject *meaning


cdef inline uint64_t _hash(const char *at, Py_ssize_t size) noexcept nogil:
    cdef uint64_t mixed = <uint64_t>size * 0x9E3779B97F4A7C15ULL
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, at, 8)
        mixed = (mixed ^ word) * 0x9E3779B97F4A7C15ULL
        mixed ^= mixed >> 32
        at += 8
        size -= 8
    if size:
        word = 0
        memcpy(&word, at, size)
        mixed = (mixed ^ word) * 0x9E3779B97F4A7C15ULL
        mixed ^= mixed >> 32
    return mixed


cdef class LineTable:
    """Lines and what they mean. Two lines with one place push each other out, so it stays as small as it is."""

    cdef Entry *_entries
    cdef object _read

    def __cinit__(self, read):
        self._entries = <Entry *>calloc(ENTRIES, sizeof(Entry))
        if self._entries == NULL:
            raise MemoryError
        self._read = read

    def __dealloc__(self):
        cdef Py_ssize_t place
        if self._entries != NULL:
            for place in range(ENTRIES):
                Py_XDECREF(self._entries[place].line)
                Py_XDECREF(self._entries[place].meaning)
            free(self._entries)

    def __getitem__(self, bytes line):
        return self.look(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))

    cdef object look(self, const char *at, Py_ssize_t size):
        cdef uint64_t mixed = _hash(at, size)
        cdef Entry *entry = &self._entries[mixed & (ENTRIES - 1)]
        if entry.hash == mixed and entry.line != NULL and PyBytes_GET_SIZE(<object>entry.line) == size:
            if memcmp(PyBytes_AS_STRING(<object>entry.line), at, size) == 0:
                return <object>entry.meaning
        return self._learn(PyBytes_FromStringAndSize(at, size), mixed)

    cdef object _learn(self, bytes line, uint64_t mixed):
        meaning, keep = self._read(line)
        cdef Entry *entry = &self._entries[mixed & (ENTRIES - 1)]
        cdef PyObject *old_line = entry.line
        cdef PyObject *old_meaning = entry.meaning
        if keep:
            Py_INCREF(line)
            Py_INCREF(meaning)
            entry.hash = mixed
            entry.line = <PyObject *>line
            entry.meaning = <PyObject *>meaning
            Py_XDECREF(old_line)
            Py_XDECREF(old_meaning)
        return meaning


cdef Py_ssize_t _line_end(const char *data, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Where the line that begins at `at` has its CRLF, or `end`."""
    cdef const char *found
    cdef Py_ssize_t place = at
    while True:
        found = <const char *>memchr(data + place, 13, end - place)
        if found == NULL:
            return end
        place = found - data
        if place + 1 < end and data[place + 1] == 10:
            return place
        place += 1


def read_head(bytes data not None, LineTable first not None, LineTable fields not None):
    """What the start line means, the fields, the last value of each name, and where the head ends; or None."""
    cdef const char *raw = PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef const char *found = <const char *>memmem(raw, size, b"\r\n\r\n", 4)
    if found == NULL:
        return None
    cdef Py_ssize_t end = found - raw
    cdef Py_ssize_t stop = _line_end(raw, 0, end)
    cdef Py_ssize_t at
    meaning = first.look(raw, stop)
    cdef list pairs = []
    cdef dict index = PyDict_New()
    while stop < end:
        at = stop + 2
        stop = _line_end(raw, at, end)
        pair = fields.look(raw + at, stop - at)
        pairs.append(pair)
        PyDict_SetItem(index, <object>PyTuple_GET_ITEM(pair, 0), <object>PyTuple_GET_ITEM(pair, 1))
    return meaning, pairs, index, end + 4


cdef inline char *_put(char *at, object piece) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(piece)
    memcpy(at, PyBytes_AS_STRING(piece), size)
    return at + size


def write_head(bytes line not None, list pairs not None):
    """A head of the start line `line`, which has its CRLF, and these fields."""
    cdef Py_ssize_t count = PyList_GET_SIZE(pairs)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(line) + 4 * count + 2
    cdef Py_ssize_t place
    cdef object pair, name, value
    for place in range(count):
        pair = <object>PyList_GET_ITEM(pairs, place)
        if not PyTuple_CheckExact(pair) or PyTuple_GET_SIZE(pair) != 2:
            raise TypeError(f"a pair of bytes was expected, not {pair!r}")
        name = <object>PyTuple_GET_ITEM(pair, 0)
        value = <object>PyTuple_GET_ITEM(pair, 1)
        if not PyBytes_Check(name) or not PyBytes_Check(value):
            raise TypeError(f"a pair of bytes was expected, not {pair!r}")
        size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value)
    head = PyBytes_FromStringAndSize(NULL, size)
    cdef char *at = _put(PyBytes_AS_STRING(head), line)
    for place in range(count):
        pair = <object>PyList_GET_ITEM(pairs, place)
        at = _put(at, <object>PyTuple_GET_ITEM(pair, 0))
        at[0] = b":"
        at[1] = b" "
        at = _put(at + 2, <object>PyTuple_GET_ITEM(pair, 1))
        at[0] = 13
        at[1] = 10
        at += 2
    at[0] = 13
    at[1] = 10
    return head


def has_any(dict index not None, frozenset names not None):
    """Whether one of `names` is a key of `index`."""
    cdef PyObject *key
    cdef Py_ssize_t place = 0
    while PyDict_Next(index, &place, &key, NULL):
        if PySet_Contains(names, <object>key):
            return True
    return False


def index_of(list pairs not None):
    """The last value of each name."""
    cdef dict index = PyDict_New()
    cdef Py_ssize_t place
    for place in range(PyList_GET_SIZE(pairs)):
        pair = <object>PyList_GET_ITEM(pairs, place)
        if not PyTuple_CheckExact(pair) or PyTuple_GET_SIZE(pair) != 2:
            raise TypeError(f"a pair of bytes was expected, not {pair!r}")
        PyDict_SetItem(index, <object>PyTuple_GET_ITEM(pair, 0), <object>PyTuple_GET_ITEM(pair, 1))
    return index


def take_away(list pairs not None, dict index not None, frozenset names not None):
    """Remove every field of these names from both."""
    cdef Py_ssize_t place = 0
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t count = PyList_GET_SIZE(pairs)
    for place in range(count):
        pair = <object>PyList_GET_ITEM(pairs, place)
        name = (<tuple>pair)[0]
        if name in names:
            index.pop(name, None)
        else:
            if kept != place:
                pairs[kept] = pair
            kept += 1
    if kept != count:
        del pairs[kept:]


def is_odd(bytes path not None):
    """Whether normalisation, or the refusal of a fragment, would have something to do with a path."""
    cdef const char *at = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t place
    for place in range(size):
        if at[place] == b"#" or at[place] == b"%" or at[place] == b"\\":
            return True
        if at[place] == b"/" and place + 1 < size and (at[place + 1] == b"/" or at[place + 1] == b"."):
            return True
    return False


def advance(coroutine not None):
    """Let a coroutine go on: whether it has ended, and what it waits for or what it returned."""
    cdef PyObject *result = NULL
    cdef PySendResult outcome = PyIter_Send(<PyObject *>coroutine, <PyObject *>None, &result)
    value = <object>result
    Py_XDECREF(result)
    return outcome == PYGEN_RETURN, value


cdef enum:
    LITERAL
    NUMBER
    ATTRIBUTE
    HEADER
    TEXT
    CALL
    EITHER
    HEADER_OR
    DURATION
    TIME

cdef enum:
    REQUEST
    INFO
    CONNECTION
    UPSTREAM
    RESPONSE


cdef object _last(object headers, object name):
    """The first value of a header, None where there is none."""
    index = headers.index
    if PyDict_Size(index) != PyList_GET_SIZE(headers.pairs):
        return headers.get(name)
    cdef PyObject *found = PyDict_GetItemWithError(index, name)
    return None if found == NULL else <object>found


cdef object _remembered(object memo, object key):
    if not isinstance(memo, dict):
        return memo[key]
    cdef PyObject *found = PyDict_GetItemWithError(memo, key)
    return memo[key] if found == NULL else <object>found


cdef class LineWriter:
    """A line of a log, written step by step (see `telemetry.formatter_steps`). `careful` writes what is not UTF-8."""

    cdef list _steps
    cdef object _careful

    def __init__(self, list steps not None, careful):
        self._steps = steps
        self._careful = careful

    def __call__(self, request, response):
        try:
            return self._write(request, response)
        except UnicodeDecodeError:
            return self._careful(request, response)

    cdef object _write(self, request, response):
        info = request.info
        cdef tuple owners = (request, info, info.connection, info.upstream)
        cdef list pieces = []
        cdef tuple step
        cdef long kind, second
        cdef double start
        for step in self._steps:
            kind = step[0]
            if kind == LITERAL:
                pieces.append(step[1])
            elif kind == NUMBER:
                pieces.append(str(PyObject_GetAttr(owners[<long>step[1]], step[2])))
            elif kind == ATTRIBUTE:
                value = PyObject_GetAttr(owners[<long>step[1]], step[2])
                if step[4] and not value:
                    value = None
                pieces.append(_remembered(step[3], value))
            elif kind == EITHER:
                value = PyObject_GetAttr(owners[<long>step[1]], step[2])
                if not value:
                    value = PyObject_GetAttr(owners[<long>step[1]], step[3])
                pieces.append(_remembered(step[4], value))
            elif kind == DURATION:
                wall = info.end
                pieces.append(str(<long>(((<double>wall if wall else <double>step[1]()) - <double>info.start) * 1000)))
            elif kind == TIME:
                start = info.start_wall
                second = <long>start
                pieces.append(_remembered(step[1], second))
                pieces.append(_remembered(step[2], <long>((start - second) * 1000)))
            elif kind == HEADER_OR:
                value = _last(request.headers, step[1])
                if value is None:
                    value = PyObject_GetAttr(request, step[2]) or None
                pieces.append(_remembered(step[3], value))
            elif kind == CALL:
                pieces.append(step[1](request, response))
            else:
                if step[1] != RESPONSE:
                    value = _last(request.headers, step[2])
                else:
                    value = None if response is None else _last(response.headers, step[2])
                if kind == HEADER:
                    pieces.append(_remembered(step[3], value))
                elif value is None:
                    pieces.append(step[4])
                else:
                    pieces.append(step[3](value.decode()))
        return "".join(pieces)
