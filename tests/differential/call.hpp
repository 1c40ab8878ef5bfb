// A system call as data: who makes it, which row of the call table it is, and its arguments. One
// text form serves reports, replay files and the wire to the workers, e.g.
//   root: pwrite slot=0 length=100 offset=4096 fill=C +probe
// Value types; the rows are constants of call_table.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/differential/random.hpp"

namespace ouro::differential {

struct Call;
class Outcome;
class Side;

// A symbol of the kernel's headers, for the text form of flags and choices.
struct NamedValue {
  const char* name;
  std::int64_t value;
};

struct Argument {
  std::int64_t number = 0;
  std::string text;  // only of parameters of Form::kText
  friend bool operator==(const Argument&, const Argument&) = default;
};

// How an argument is written down.
enum class Form { kDecimal, kOctal, kText, kFlags, kChoice };

// What a probe (see Call) looks at after the call.
enum class Role { kValue, kPath, kSlot };

// A domain of values: how to draw one, and how to write it.
struct ParameterType {
  Form form;
  Role role;
  std::span<const NamedValue> names;
  Argument (*generate)(Random&);
};

struct Parameter {
  const char* name = nullptr;
  const ParameterType* type = nullptr;
};

// One kind of call: its frequency, its parameters (which say how to generate it) and its executor.
struct CallRow {
  static constexpr std::size_t kMaxParameters = 7;

  const char* name;
  unsigned weight;
  void (*execute)(Side&, const Call&, Outcome&);  // does it on one side
  std::array<Parameter, kMaxParameters> all;      // ended by a null type
  void (*adjust)(Random&, Call&) = nullptr;       // where arguments depend on each other

  [[nodiscard]] std::span<const Parameter> parameters() const;
};

struct Call {
  const CallRow* row = nullptr;
  int identity = 0;    // index of the worker
  bool probe = false;  // stat the paths and slots of the arguments afterwards
  std::vector<Argument> arguments;

  // The argument named `parameter`, which the row must have: a misspelt name aborts.
  [[nodiscard]] std::int64_t number(std::string_view parameter) const;
  [[nodiscard]] const std::string& text(std::string_view parameter) const;
  Argument& argument(std::string_view parameter);
};

[[nodiscard]] std::string format_argument(const ParameterType& type, const Argument& argument);
[[nodiscard]] std::optional<Argument> parse_argument(const ParameterType& type,
                                                     std::string_view text);

// identity_names: what each worker is called. parse_call: nothing for a line that is no call.
[[nodiscard]] std::string format_call(const Call& call,
                                      std::span<const std::string> identity_names);
[[nodiscard]] std::optional<Call> parse_call(std::string_view line,
                                             std::span<const std::string> identity_names);

// Text without spaces, quotes, backslashes or unprintable bytes: those become \xNN.
[[nodiscard]] std::string escape(std::string_view text);
[[nodiscard]] std::string unescape(std::string_view text);

}  // namespace ouro::differential
