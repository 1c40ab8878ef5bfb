// The tests of the loop once more, with GLib's main loop as the foreign one.
#include <gtest/gtest.h>

#include "loop/glib/aio_source.hpp"
#include "tests/support/loop_test.hpp"

namespace {

using ouro::loop::AioContext;
using ouro::loop::AioSource;
using ouro::testing::kSecondTurnNs;
using ouro::testing::kTurns;

gboolean end_turn(gpointer /*data*/) {
  return G_SOURCE_CONTINUE;
}

// A main context of its own per call, since tests destroy their contexts at will.
bool drive_by_glib(AioContext& context) {
  GMainContext* const main_context = ::g_main_context_new();
  bool progressed = false;
  {
    const AioSource source(context, main_context);
    for (int turn = 0; turn < kTurns && !progressed; ++turn) {
      if (turn == 1) {
        GSource* const timeout = ::g_timeout_source_new(kSecondTurnNs / 1'000'000);
        ::g_source_set_callback(timeout, &end_turn, nullptr, nullptr);
        ::g_source_attach(timeout, main_context);
        ::g_source_unref(timeout);
      }
      ::g_main_context_iteration(main_context, TRUE);
      progressed = source.progressed();
    }
  }
  ::g_main_context_unref(main_context);
  return progressed;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ouro::testing::drive_from_outside = &drive_by_glib;
  return RUN_ALL_TESTS();
}
