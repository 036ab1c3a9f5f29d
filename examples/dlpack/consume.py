"""Hands batches of examples/dlpack/lib.rs to numpy, PyTorch and JAX (what can be imported of these): is it the batch's
own memory, is in it what should be, and does every buffer come back?

    python3 examples/dlpack/consume.py target/debug/examples/libdlpack.so
"""

import ctypes
import gc
import sys
import threading
import time

TYPES = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64".split()

library = ctypes.CDLL(sys.argv[1])
python = ctypes.pythonapi


class Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


def declare(function, result, *arguments):
    function.restype, function.argtypes = result, arguments


pointer = ctypes.c_void_p
declare(library.sutler_loader, pointer)
declare(library.sutler_buffers_live, ctypes.c_uint64, pointer)
declare(library.sutler_fields, ctypes.c_bool, pointer, pointer * len(TYPES))
declare(library.sutler_address, pointer, pointer)
declare(library.sutler_device, Device, pointer)
declare(library.sutler_take_versioned, pointer, pointer)
declare(library.sutler_take, pointer, pointer)
declare(library.sutler_drop, None, pointer)
declare(python.PyCapsule_New, ctypes.py_object, pointer, ctypes.c_char_p, pointer)
library.sutler_capsules(python.PyCapsule_IsValid, python.PyCapsule_GetPointer)
destroy = ctypes.cast(library.sutler_destroy_capsule, pointer)

# A capsule keeps the pointer to its name, so the names must stay.
VERSIONED, UNVERSIONED = b"dltensor_versioned", b"dltensor"


class Field:
    """One field of a batch, as the array API standard has it."""

    def __init__(self, handle):
        self.handle = handle
        self.address = library.sutler_address(handle)
        self.taken_as = None

    def __dlpack_device__(self):
        device = library.sutler_device(self.handle)
        return device.type, device.id

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        handle, self.handle = self.handle, None
        assert handle is not None, "a batch is given away once"
        new = max_version is not None and max_version[0] >= 1
        self.taken_as = VERSIONED if new else UNVERSIONED
        managed = (library.sutler_take_versioned if new else library.sutler_take)(handle)
        return python.PyCapsule_New(managed, self.taken_as, destroy)

    def __del__(self):
        if self.handle is not None:
            library.sutler_drop(self.handle)


class OldField(Field):
    """The same for whoever can say which version it takes, and is given the old one."""

    def __dlpack__(self, *, stream=None):
        return super().__dlpack__(stream=stream)


loader = library.sutler_loader()
assert loader


def batch(field):
    handles = (pointer * len(TYPES))()
    assert library.sutler_fields(loader, handles)
    return [field(handle) for handle in handles]


def live_is(count):
    # A framework may free on a thread of its own.
    patience = time.monotonic() + 10
    while (live := library.sutler_buffers_live(loader)) != count and time.monotonic() < patience:
        gc.collect()
        time.sleep(0.001)
    assert live == count, f"{live} buffers are in use, not {count}"


def expected(type_name):
    values = [[i + j for j in range(3)] for i in range(8)]
    return [[value % 2 == 1 for value in row] for row in values] if type_name == "bool" else values


def check(name, version, from_dlpack, address, lacks=()):
    """What `from_dlpack` makes of each field. `lacks` are types that the framework may refuse."""
    for kind in (Field, OldField):
        fields = batch(kind)
        live_is(len(TYPES))
        arrays = {}
        for type_name, field in zip(TYPES, fields):
            try:
                array = from_dlpack(field)
            except Exception:
                if type_name not in lacks:
                    raise
                continue
            assert str(array.dtype).removeprefix("torch.") == type_name, array.dtype
            assert address(array) == field.address, f"{name} has copied {type_name}"
            assert array.tolist() == expected(type_name), array
            arrays[type_name] = array
        (taken_as,) = {field.taken_as for field in fields}
        # What was refused has come back already, from a capsule that nobody took.
        del array, field, fields
        live_is(len(arrays))
        # A view keeps the memory.
        views = {type_name: array[1:] for type_name, array in arrays.items()}
        count = len(arrays)
        arrays.clear()
        if name != "jax":  # whose slices are copies
            live_is(count)
            assert all(view.tolist() == expected(type_name)[1:] for type_name, view in views.items())
        # The last view may go on any thread.
        thread = threading.Thread(target=views.clear)
        thread.start()
        thread.join()
        live_is(0)
        print(f"{name} {version}: {count} of {len(TYPES)} element types in place, as {taken_as.decode()}")
        if taken_as == UNVERSIONED:
            break  # not only of those who know no other


import numpy

unused = batch(Field)
live_is(len(TYPES))
del unused
live_is(0)

check("numpy", numpy.__version__, numpy.from_dlpack, lambda array: array.ctypes.data, lacks=["bfloat16"])

field = batch(Field)[7]
array = numpy.from_dlpack(field)
assert array.flags.writeable == (field.taken_as == VERSIONED)
if array.flags.writeable:
    array[:] = 5
    assert list((ctypes.c_uint64 * 24).from_address(field.address)) == [5] * 24
del array, field
live_is(0)

try:
    import torch
except ImportError:
    print("torch: not there")
else:
    check("torch", torch.__version__, torch.from_dlpack, lambda array: array.data_ptr())

try:
    import jax
except ImportError:
    print("jax: not there")
else:
    jax.config.update("jax_enable_x64", True)
    check("jax", jax.__version__, jax.dlpack.from_dlpack, lambda array: array.unsafe_buffer_pointer())
