#include "tests/integration/cases.hpp"

namespace ouro::testing {

std::vector<CaseGroup> case_groups() {
  return {{"Names", name_cases},        {"Nodes", node_cases},   {"Attributes", attribute_cases},
          {"Data", data_cases},         {"Space", space_cases},  {"Mappings", mapping_cases},
          {"Listing", directory_cases}, {"Xattrs", xattr_cases}, {"Control", control_cases}};
}

}  // namespace ouro::testing
