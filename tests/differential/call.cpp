#include "tests/differential/call.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "tests/differential/call_table.hpp"

namespace ouro::differential {
namespace {

std::size_t index_of(const CallRow& row, std::string_view parameter) {
  const auto parameters = row.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].name == parameter) return i;
  }
  fmt::print(stderr, "call table: {} has no parameter {}\n", row.name, parameter);
  std::abort();
}

std::optional<std::int64_t> parse_number(std::string_view text, int base) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> find_name(std::span<const NamedValue> names, std::string_view text) {
  for (const NamedValue& named : names) {
    if (named.name == text) return named.value;
  }
  return parse_number(text, 10);
}

// The names are listed from the widest flag to the narrowest: O_SYNC before O_DSYNC.
std::string format_flags(std::span<const NamedValue> names, std::int64_t value) {
  std::string text;
  for (const NamedValue& named : names) {
    if (named.value == 0 || (value & named.value) != named.value) continue;
    text += (text.empty() ? "" : "|") + std::string(named.name);
    value &= ~named.value;
  }
  if (value != 0) text += fmt::format("{}{}", text.empty() ? "" : "|", value);
  return text.empty() ? "0" : text;
}

std::optional<std::int64_t> parse_flags(std::span<const NamedValue> names, std::string_view text) {
  std::int64_t value = 0;
  while (!text.empty()) {
    const std::size_t bar = text.find('|');
    const auto part = find_name(names, text.substr(0, bar));
    if (!part) return std::nullopt;
    value |= *part;
    text = bar == std::string_view::npos ? std::string_view() : text.substr(bar + 1);
  }
  return value;
}

std::string format_choice(std::span<const NamedValue> names, std::int64_t value) {
  for (const NamedValue& named : names) {
    if (named.value == value) return named.name;
  }
  return std::to_string(value);
}

std::string_view next_word(std::string_view& line) {
  const std::size_t begin = line.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::exchange(line, {});
  const std::size_t end = std::min(line.find(' ', begin), line.size());
  const std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

std::optional<int> parse_identity(std::string_view word, std::span<const std::string> names) {
  if (word.empty() || word.back() != ':') return std::nullopt;
  word.remove_suffix(1);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == word) return static_cast<int>(i);
  }
  return std::nullopt;
}

}  // namespace

std::span<const Parameter> CallRow::parameters() const {
  std::size_t count = 0;
  while (count < all.size() && all[count].type != nullptr) ++count;
  return std::span(all).first(count);
}

std::int64_t Call::number(std::string_view parameter) const {
  return arguments[index_of(*row, parameter)].number;
}

const std::string& Call::text(std::string_view parameter) const {
  return arguments[index_of(*row, parameter)].text;
}

Argument& Call::argument(std::string_view parameter) {
  return arguments[index_of(*row, parameter)];
}

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c > ' ' && c < 127 && c != '"' && c != '\\') {
      escaped += c;
    } else {
      escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>(parse_number(text.substr(i + 2, 2), 16).value_or('?'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string format_argument(const ParameterType& type, const Argument& argument) {
  switch (type.form) {
    case Form::kDecimal:
      return std::to_string(argument.number);
    case Form::kOctal:
      return fmt::format("0{:o}", argument.number);
    case Form::kText:
      return '"' + escape(argument.text) + '"';
    case Form::kFlags:
      return format_flags(type.names, argument.number);
    case Form::kChoice:
      return format_choice(type.names, argument.number);
  }
  std::abort();
}

std::optional<Argument> parse_argument(const ParameterType& type, std::string_view text) {
  if (type.form == Form::kText) {
    if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
    return Argument{0, unescape(text.substr(1, text.size() - 2))};
  }
  std::optional<std::int64_t> number;
  if (type.form == Form::kDecimal) number = parse_number(text, 10);
  if (type.form == Form::kOctal) number = parse_number(text, 8);
  if (type.form == Form::kFlags) number = parse_flags(type.names, text);
  if (type.form == Form::kChoice) number = find_name(type.names, text);
  if (!number) return std::nullopt;
  return Argument{*number, {}};
}

std::string format_call(const Call& call, std::span<const std::string> identity_names) {
  std::string line = fmt::format("{}: {}", identity_names[static_cast<std::size_t>(call.identity)],
                                 call.row->name);
  const auto parameters = call.row->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    line += fmt::format(" {}={}", parameters[i].name,
                        format_argument(*parameters[i].type, call.arguments[i]));
  }
  if (call.probe) line += " +probe";
  return line;
}

std::optional<Call> parse_call(std::string_view line, std::span<const std::string> identity_names) {
  const auto identity = parse_identity(next_word(line), identity_names);
  const CallRow* row = find_row(next_word(line));
  if (!identity || row == nullptr) return std::nullopt;
  Call call{row, *identity, false, {}};
  for (const Parameter& parameter : row->parameters()) {
    std::string_view word = next_word(line);
    const std::string prefix = std::string(parameter.name) + "=";
    if (word.substr(0, prefix.size()) != prefix) return std::nullopt;
    auto argument = parse_argument(*parameter.type, word.substr(prefix.size()));
    if (!argument) return std::nullopt;
    call.arguments.push_back(*std::move(argument));
  }
  const std::string_view rest = next_word(line);
  if (!rest.empty() && rest != "+probe") return std::nullopt;
  call.probe = !rest.empty();
  return call;
}

}  // namespace ouro::differential
