// Every operation through real mounts in every mode, with native as the oracle, and the proof that
// the mode was active.
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/integration/cases.hpp"
#include "tests/integration/mode.hpp"
#include "tests/integration/requirements.hpp"

namespace ouro::testing {
namespace {

class Matrix : public ::testing::TestWithParam<std::tuple<Mode, CaseGroup>> {};

TEST_P(Matrix, EqualsNative) {
  const auto& [mode, group] = GetParam();
  OURO_REQUIRE(can_serve(mode));
  Mounted mounted({.options = mode.options(), .who = mode.who});
  compare_with_native(mounted, group.cases());
  for (const std::string& complaint : disprove(mode, mounted, mounted.statistics(), Work::kAny)) {
    ADD_FAILURE() << complaint;
  }
}

INSTANTIATE_TEST_SUITE_P(, Matrix,
                         ::testing::Combine(::testing::ValuesIn(all_modes()),
                                            ::testing::ValuesIn(case_groups())),
                         [](const auto& instance) {
                           return std::get<0>(instance.param).name() +
                                  std::get<1>(instance.param).name;
                         });

}  // namespace
}  // namespace ouro::testing
