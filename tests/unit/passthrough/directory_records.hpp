// The records that getdents64(2) gives, for tests that read directories.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace ouro::passthrough {

struct DirectoryRecord {
  std::uint64_t inode = 0;
  std::int64_t next = 0;  // stream position behind it
  std::uint8_t type = 0;
  std::string name;
};

inline std::vector<DirectoryRecord> parse_records(std::span<const std::byte> bytes) {
  std::vector<DirectoryRecord> records;
  while (!bytes.empty()) {
    DirectoryRecord record;
    std::uint16_t length = 0;
    std::memcpy(&record.inode, bytes.data(), 8);
    std::memcpy(&record.next, bytes.data() + 8, 8);
    std::memcpy(&length, bytes.data() + 16, 2);
    std::memcpy(&record.type, bytes.data() + 18, 1);
    record.name = reinterpret_cast<const char*>(bytes.data()) + 19;
    records.push_back(record);
    bytes = bytes.subspan(length);
  }
  return records;
}

inline std::multiset<std::string> names_of(const std::vector<DirectoryRecord>& records) {
  std::multiset<std::string> names;
  for (const DirectoryRecord& record : records) names.insert(record.name);
  return names;
}

}  // namespace ouro::passthrough
