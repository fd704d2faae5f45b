# cython: language_level=3
"""The least a call from Python into Cython can cost: a method, and an iterator, that do nothing."""


cdef class Empty:
    def call(self):
        pass


cdef class EmptyIterator:
    cdef Py_ssize_t left

    def __init__(self, Py_ssize_t count):
        self.left = count

    def __iter__(self):
        return self

    def __next__(self):
        if self.left == 0:
            raise StopIteration
        self.left -= 1
