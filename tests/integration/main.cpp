// The main() of the integration tests: every run has a world of its own (isolation.hpp).
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/integration/isolation.hpp"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (::testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  return ouro::testing::run_isolated([] { return RUN_ALL_TESTS(); });
}
