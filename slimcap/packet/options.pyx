"""Options of pcapng blocks as Python objects: tuples of (code, value), numbers in native byte order."""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from slimcap.abi.pcap_format cimport MAX_OPTION, OPTION_COMMENT

cdef enum:
    MAX_COMMENTS = 128 << 20    # bytes of comments on one object: Wireshark reads no larger blocks
    EXPRESSION = 0              # type of a capture filter (if_filter) that is a text


@cython.final
cdef class Allowance:
    """Bytes left for options and blocks of files, as Python objects: a file may have any number of them."""

    def __cinit__(self):
        self.left = MAX_KEPT

    cdef bint take(self, int64_t size) noexcept:
        """Take `size` bytes of it; return False if there are not as many left."""
        if size > self.left:
            return False
        self.left -= size
        return True


cdef tuple read_options(Options* options, uint32_t block, Allowance allowance, uint64_t* left_out):
    """Return the options of a block, by its type, up to one that is longer than the block.

    Those that exceed the allowance are left out, and counted in `left_out`.
    """
    cdef PcapngOption option
    cdef const uint8_t* value
    cdef bytearray native
    found = []
    while next_option(options, &option, &value):
        if not allowance.take(OPTION_COST + option.length):
            left_out[0] += 1
            continue
        native = bytearray(value[:option.length])
        if options.swapped and option.length:
            swap_value(block, option.code, native, option.length)
        found.append((option.code, bytes(native)))
    return tuple(found)


cdef int64_t cost_of(object options) except -1:
    """Return the number of bytes that options take of an allowance; 0 for None."""
    return sum([OPTION_COST + (len(value) if isinstance(value, bytes) else 8) for _, value in options or ()])


cdef object comments_of(Options options):
    """Return the comments among options of a packet, one per line; None if there are none.

    Trailing NULs, which should not be there, are removed from each.
    """
    cdef Options rest = options
    cdef PcapngOption option
    cdef const uint8_t* value
    cdef uint64_t size = 0
    cdef uint8_t* start
    cdef uint8_t* out
    with nogil:
        while next_option(&rest, &option, &value):
            if option.code == OPTION_COMMENT:
                size += option.length + 1
    if size == 0:
        return None
    joined = PyBytes_FromStringAndSize(NULL, size)
    start = out = <uint8_t*> PyBytes_AS_STRING(joined)
    with nogil:
        while next_option(&options, &option, &value):
            if option.code != OPTION_COMMENT:
                continue
            while option.length and value[option.length - 1] == 0:
                option.length -= 1
            memcpy(out, value, option.length)
            out[option.length] = b"\n"
            out += option.length + 1
    return joined[:out - start - 1].decode("utf-8", "replace")


cdef bytes encode_option(int code, bytes value):
    cdef PcapngOption h
    h.code, h.length = code, len(value)
    return (<const char*> &h)[:sizeof(h)] + value + bytes(padded(len(value)) - len(value))


cdef bytes encode_options(object options):
    """Return options as in a file, with the mark that ends them; nothing if there are none.

    Those that must not be copied to another file are left out.
    """
    encoded = b"".join([encode_option(code, value) for code, value in options if not is_private(code)])
    return encoded + encode_option(OPTION_END, b"") if encoded else b""


cdef list comment_options(object text, str what):
    """Return a comment as options: as several, split at the ends of lines, if it does not fit into one."""
    cdef bytes encoded = encode_text(text, what)
    cdef Py_ssize_t start = 0, end, size = len(encoded)
    if size > MAX_COMMENTS:
        raise ValueError(f"{what} of {size} bytes, where there can be {MAX_COMMENTS} in all")
    options = []
    while size - start > MAX_OPTION:
        end = encoded.rfind(b"\n", start, start + MAX_OPTION + 1)
        if end < 0:
            line = encoded[start:].partition(b"\n")[0]
            raise ValueError(f"{what} has a line of {len(line)} bytes, where there can be {MAX_OPTION}")
        options.append((OPTION_COMMENT, encoded[start:end]))
        start = end + 1
    options.append((OPTION_COMMENT, encoded[start:]))
    return options


cdef bytes encode_text(object text, str what):
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {type(text).__name__}")
    return text.encode("utf-8", "surrogateescape")


cdef dict texts_of(object options, dict fields):
    """Return the texts of options, by the names that `fields` has for their codes.

    An option that is repeated has its last text. Comments are joined, one per line.
    """
    texts, comments = {}, []
    for code, value in options:
        if code == OPTION_COMMENT:
            comments.append(_text(value))
        elif code in fields:
            text = _text(value)
            if fields[code] == "filter":
                text = text[1:] if value[:1] == bytes([EXPRESSION]) else ""
            texts[fields[code]] = text
    if comments:
        texts["comment"] = "\n".join(comments)
    return texts


cdef tuple with_texts(tuple options, dict fields, dict texts):
    """Return options with these texts, by name; those that say the same already stay as they are."""
    cdef dict codes = {name: code for code, name in fields.items()}
    before = texts_of(options, fields)
    changed = [name for name, text in texts.items() if before.get(name, "") != (text or "")]
    dropped = {OPTION_COMMENT if name == "comment" else codes[name] for name in changed}
    added = []
    for name in changed:
        text = texts[name]
        if not text:
            continue
        if name == "comment":
            added += comment_options(text, name)
        else:
            value = encode_text(text, name)
            if name == "filter":
                value = bytes([EXPRESSION]) + value
            if len(value) > MAX_OPTION:
                raise ValueError(f"{name} of {len(value)} bytes, where there can be {MAX_OPTION}")
            added.append((codes[name], value))
    return tuple(added + [option for option in options if option[0] not in dropped])


cdef str _text(bytes value):
    """Decode a UTF-8 text; replace invalid bytes, and remove trailing NULs, which should not be there."""
    return value.decode("utf-8", "replace").rstrip("\0")
