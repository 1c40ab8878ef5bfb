// The table is the source of truth; these tests hold everything that repeats it to it.
#include "mount-helper/option_table.hpp"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "mount-helper/options.hpp"

namespace ouro::mount_helper {
namespace {

const std::filesystem::path kSourceDir = OURO_SOURCE_DIR;

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path << " cannot be read";
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// `word` with no letter, digit or underscore at either side.
bool has_word(const std::string& text, std::string_view word) {
  const auto is_part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const bool starts = at == 0 || !is_part(text[at - 1]);
    const std::size_t end = at + word.size();
    if (starts && (end == text.size() || !is_part(text[end]))) return true;
  }
  return false;
}

TEST(OptionTable, EveryRowIsFoundByItsNameAndLetter) {
  std::set<std::string_view> names;
  std::set<char> letters;
  for (const OptionRow& row : option_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " is there twice";
    EXPECT_EQ(find_option(row.name), &row);
    EXPECT_FALSE(is_ignored_option(row.name)) << row.name;
    EXPECT_EQ(row.name.find('-'), std::string_view::npos) << row.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
    if (row.letter == 0) continue;
    EXPECT_TRUE(letters.insert(row.letter).second) << row.letter << " is there twice";
    EXPECT_EQ(find_option(row.letter), &row);
  }
  EXPECT_EQ(find_option(std::string_view("no_such_option")), nullptr);
  EXPECT_EQ(find_option('\0'), nullptr);
}

TEST(OptionTable, HelpShowsEveryRowWithinATerminal) {
  const std::string help = help_text();
  for (const OptionRow& row : option_table()) {
    EXPECT_TRUE(has_word(help, row.name)) << row.name;
    EXPECT_NE(help.find(row.help), std::string::npos) << row.name;
  }
  for (const std::string_view name : ignored_options()) EXPECT_TRUE(has_word(help, name)) << name;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(OptionTable, ManPageNamesEveryOption) {
  const std::string page = content_of(kSourceDir / "docs/ourofs.8");
  for (const OptionRow& row : option_table()) EXPECT_TRUE(has_word(page, row.name)) << row.name;
  for (const std::string_view name : ignored_options()) EXPECT_TRUE(has_word(page, name)) << name;
}

TEST(OptionTable, ShellCompletionNamesEveryOption) {
  const std::string script = content_of(kSourceDir / "docs/ourofs.bash-completion");
  for (const OptionRow& row : option_table()) {
    const std::string word = std::string(row.name) + (row.value.empty() ? "" : "=");
    EXPECT_NE(script.find(word), std::string::npos) << word;
  }
}

TEST(OptionTable, ReadmeNamesEveryOption) {
  const std::string readme = content_of(kSourceDir / "README.md");
  for (const OptionRow& row : option_table()) EXPECT_TRUE(has_word(readme, row.name)) << row.name;
}

}  // namespace
}  // namespace ouro::mount_helper
