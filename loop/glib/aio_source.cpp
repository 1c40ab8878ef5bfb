#include "loop/glib/aio_source.hpp"

#include <algorithm>
#include <limits>

namespace ouro::loop {
namespace {

constexpr std::int64_t kMsNs = 1'000'000;

// Rounded up: a timer that has not expired at the wake-up would cost a second one.
gint to_ms(std::int64_t timeout_ns) {
  if (timeout_ns < 0) return -1;
  const std::int64_t ms = (timeout_ns + kMsNs - 1) / kMsNs;
  return static_cast<gint>(std::min<std::int64_t>(ms, std::numeric_limits<gint>::max()));
}

}  // namespace

struct AioSource::Source {
  GSource base;
  AioSource* owner;
};

// GLib keeps a pointer to it, and wants it writable.
GSourceFuncs AioSource::kFunctions = {
    &AioSource::prepare, &AioSource::check, &AioSource::dispatch, nullptr, nullptr, nullptr};

AioSource::AioSource(AioContext& context, GMainContext* main_context, int priority)
    : context_(context), source_(::g_source_new(&kFunctions, sizeof(Source))) {
  reinterpret_cast<Source*>(source_)->owner = this;
  ::g_source_set_priority(source_, priority);
  ::g_source_set_can_recurse(source_, TRUE);
  ::g_source_set_static_name(source_, "AioContext");
  ::g_source_attach(source_, main_context);
}

AioSource::~AioSource() {
  (void)context_.foreign_check();  // nobody waits for it any more
  ::g_source_destroy(source_);
  ::g_source_unref(source_);
}

gboolean AioSource::prepare(GSource* source, gint* timeout_ms) {
  AioSource& self = *reinterpret_cast<Source*>(source)->owner;
  const std::int64_t timeout_ns = self.context_.foreign_prepare();
  self.watch_fds();
  *timeout_ms = to_ms(timeout_ns);
  return timeout_ns == 0 ? TRUE : FALSE;
}

gboolean AioSource::check(GSource* source) {
  AioSource& self = *reinterpret_cast<Source*>(source)->owner;
  bool ready = self.context_.foreign_check();
  for (const Watched& watched : self.watched_) {
    ready |= ::g_source_query_unix_fd(source, watched.tag) != 0;
  }
  return ready ? TRUE : FALSE;
}

gboolean AioSource::dispatch(GSource* source, GSourceFunc /*callback*/, gpointer /*data*/) {
  AioSource& self = *reinterpret_cast<Source*>(source)->owner;
  self.progressed_ = self.context_.poll(Blocking::kNo);
  return G_SOURCE_CONTINUE;
}

bool AioSource::watches(std::span<const pollfd> wanted) const {
  return std::equal(wanted.begin(), wanted.end(), watched_.begin(), watched_.end(),
                    [](const pollfd& want, const Watched& have) {
                      return want.fd == have.fd.fd && want.events == have.fd.events;
                    });
}

void AioSource::watch_fds() {
  const std::span<const pollfd> wanted = context_.foreign_fds();
  if (watches(wanted)) return;
  for (const Watched& watched : watched_) ::g_source_remove_unix_fd(source_, watched.tag);
  watched_.clear();
  for (const pollfd& fd : wanted) {
    const auto condition = static_cast<GIOCondition>(fd.events);
    watched_.push_back({fd, ::g_source_add_unix_fd(source_, fd.fd, condition)});
  }
}

}  // namespace ouro::loop
