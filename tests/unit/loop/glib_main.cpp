// The tests of the loop once more, with GLib's main loop as the foreign one.
#include <cstdint>
#include <cstdio>
#include <limits>

#include <gtest/gtest.h>

#include "loop/glib/aio_source.hpp"
#include "tests/support/loop_test.hpp"

namespace {

using ouro::loop::AioContext;
using ouro::loop::AioSource;
using ouro::testing::kSecondTurnNs;

// GLib does not tell of a wait that ended early (EINTR), so that such turns cannot be left out of
// the count as they are elsewhere: it is time that is counted.
constexpr std::int64_t kPatienceNs = 400'000'000;

gboolean end_turn(gpointer /*data*/) {
  return G_SOURCE_CONTINUE;
}

// A main context of its own per call, since tests destroy their contexts at will.
bool drive_by_glib(AioContext& context) {
  GMainContext* const main_context = ::g_main_context_new();
  bool progressed = false;
  {
    const AioSource source(context, main_context);
    std::int64_t give_up_ns = std::numeric_limits<std::int64_t>::max();
    for (int turn = 0; !progressed && ouro::loop::monotonic_now_ns() < give_up_ns; ++turn) {
      if (turn == 1) {
        give_up_ns = ouro::loop::monotonic_now_ns() + kPatienceNs;
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
  if (ouro::testing::tested_drive() != ouro::loop::Drive::kForeign &&
      !::testing::GTEST_FLAG(list_tests)) {
    std::fputs("OURO_TEST_LOOP does not name the foreign drive\n", stderr);
    return 1;
  }
  ouro::testing::drive_from_outside = &drive_by_glib;
  ouro::testing::outside_unit_ns = 1'000'000;  // g_main_context_query()
  return RUN_ALL_TESTS();
}
