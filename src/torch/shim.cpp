// What libtorch has in C++ only: page-locked memory, streams, events, record_stream; for any accelerator, by c10's own
// dispatch, so that no header of CUDA's is needed. Every function gives null, or why it failed as text of malloc's; no
// exception leaves this file. The Rust side, shim.rs, says what each does.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

char no_memory[] = "no memory left to say why";

char* text(const char* what) noexcept {
  char* copy = strdup(what);
  return copy ? copy : no_memory;
}

template <typename F>
char* attempt(F&& run) noexcept {
  try {
    run();
    return nullptr;
  } catch (const c10::Error& error) {
    return text(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return text(error.what());
  } catch (...) {
    return text("an exception that is no std::exception");
  }
}

c10::Device device(int32_t type, int32_t index) {
  TORCH_CHECK(index >= -1 && index <= INT8_MAX, "there is no device of index ", index);
  return c10::Device(static_cast<c10::DeviceType>(type), static_cast<c10::DeviceIndex>(index));
}

}  // namespace

extern "C" {

// c10::StreamData3, with types of one size.
struct sutler_stream {
  int64_t id;
  int32_t device_type;
  int32_t device_index;
};

static c10::Stream unpack(const sutler_stream* stream) {
  return c10::Stream::unpack3(
      stream->id,
      static_cast<c10::DeviceIndex>(stream->device_index),
      static_cast<c10::DeviceType>(stream->device_type));
}

static void pack(const c10::Stream& stream, sutler_stream* packed) {
  const c10::StreamData3 data = stream.pack3();
  *packed = {data.stream_id, static_cast<int32_t>(data.device_type), static_cast<int32_t>(data.device_index)};
}

void sutler_text_delete(char* text) {
  if (text != no_memory) {
    std::free(text);
  }
}

char* sutler_accelerator_count(int64_t* count) {
  return attempt([&] { *count = at::accelerator::deviceCount(); });
}

char* sutler_pinned_new(uint64_t bytes, void** block, void** data) {
  return attempt([&] {
    const auto options = at::TensorOptions().dtype(at::kByte).pinned_memory(true);
    auto* tensor = new at::Tensor(at::empty({static_cast<int64_t>(bytes)}, options));
    *data = tensor->data_ptr();
    *block = tensor;
  });
}

char* sutler_pinned_delete(void* block) {
  return attempt([&] { delete static_cast<at::Tensor*>(block); });
}

char* sutler_stream_current(int32_t type, int32_t index, sutler_stream* stream) {
  return attempt([&] {
    const auto on = device(type, index);
    pack(c10::impl::VirtualGuardImpl(on.type()).getStream(on), stream);
  });
}

char* sutler_stream_of_pool(int32_t type, int32_t index, sutler_stream* stream) {
  return attempt([&] {
    const auto on = device(type, index);
    pack(c10::impl::VirtualGuardImpl(on.type()).getStreamFromGlobalPool(on), stream);
  });
}

char* sutler_stream_exchange(const sutler_stream* stream, sutler_stream* previous) {
  return attempt([&] {
    const auto next = unpack(stream);
    pack(c10::impl::VirtualGuardImpl(next.device_type()).exchangeStream(next), previous);
  });
}

char* sutler_event_record(void** event, const sutler_stream* stream) {
  return attempt([&] {
    const auto on = unpack(stream);
    c10::impl::VirtualGuardImpl(on.device_type())
        .record(event, on, on.device_index(), c10::EventFlag::PYTORCH_DEFAULT);
  });
}

char* sutler_event_query(void* event, const sutler_stream* stream, bool* is_over) {
  return attempt([&] {
    *is_over = c10::impl::VirtualGuardImpl(unpack(stream).device_type()).queryEvent(event);
  });
}

char* sutler_event_delete(void* event, const sutler_stream* stream) {
  return attempt([&] {
    const auto on = unpack(stream);
    c10::impl::VirtualGuardImpl(on.device_type()).destroyEvent(event, on.device_index());
  });
}

char* sutler_record_stream(const void* tensor, const sutler_stream* stream) {
  return attempt([&] {
    const auto on = unpack(stream);
    const auto& data = static_cast<const at::Tensor*>(tensor)->storage().data_ptr();
    c10::impl::VirtualGuardImpl(on.device_type()).recordDataPtrOnStream(data, on);
  });
}

}  // extern "C"
