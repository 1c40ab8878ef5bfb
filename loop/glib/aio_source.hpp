// Lets a GLib main loop drive an AioContext: a GSource around its foreign drive. The only part of
// the loop that knows GLib, and a target of its own (ouro-loop-glib).
//
// Home thread of the context, which must be the thread that runs the GMainContext.
#pragma once

#include <glib.h>

#include <memory>
#include <vector>

#include "loop/aio_context.hpp"

namespace ouro::loop {

class AioSource {
 public:
  // Attaches `context`, which was made with Drive::kForeign and must outlive this, to
  // `main_context` (null: GLib's default). From then on its callbacks run in the iterations of
  // that; they may nest loops of either kind.
  explicit AioSource(AioContext& context, GMainContext* main_context = nullptr,
                     int priority = G_PRIORITY_DEFAULT);
  AioSource(const AioSource&) = delete;
  AioSource& operator=(const AioSource&) = delete;
  // Detaches. Not in a callback of the context.
  ~AioSource();

  // What poll() said in the last iteration in which it was called: whether a user's work was done.
  [[nodiscard]] bool progressed() const { return progressed_; }

 private:
  struct Watched {
    pollfd fd;
    gpointer tag;
  };
  struct Source;  // the GSource, as GLib allocates it

  static gboolean prepare(GSource* source, gint* timeout_ms);
  static gboolean check(GSource* source);
  static gboolean dispatch(GSource* source, GSourceFunc callback, gpointer data);
  static GSourceFuncs kFunctions;

  void watch_fds();
  [[nodiscard]] bool watches(std::span<const pollfd> wanted) const;

  AioContext& context_;
  GSource* const source_;
  std::vector<Watched> watched_;
  bool progressed_ = false;
};

}  // namespace ouro::loop
