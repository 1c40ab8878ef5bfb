#include "tests/support/mounted.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

#include "loop/unique_fd.hpp"

namespace ouro::testing {
namespace {

using std::filesystem::path;

constexpr std::string_view kStatistics = "ourofs: statistics: ";
constexpr std::string_view kServing = "ourofs: serving ";

// All that the program says when nothing is wrong.
constexpr std::array<std::string_view, 5> kHarmless = {
    kStatistics, kServing, "ourofs: sandbox: ", "ourofs: SIGTERM: unmounting",
    "ourofs: SIGINT: unmounting"};

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The words "key=value" of a line.
template <typename Visit>
void for_each_pair(const std::string& line, Visit visit) {
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) visit(word.substr(0, equals), word.substr(equals + 1));
  }
}

// The third column of mountinfo is major:minor, the fifth the mount point.
struct MountLine {
  std::string device;
  std::string mountpoint;
};

std::optional<MountLine> find_mount(const path& mountpoint) {
  std::optional<MountLine> found;
  for (const std::string& line : split_lines(read_file("/proc/self/mountinfo"))) {
    std::istringstream words(line);
    std::string id;
    std::string parent;
    std::string root;
    MountLine mount;
    words >> id >> parent >> mount.device >> root >> mount.mountpoint;
    if (mount.mountpoint == mountpoint) found = mount;  // the last one is on top
  }
  return found;
}

}  // namespace

bool Statistics::add(const std::string& line) {
  if (!line.starts_with(kStatistics)) return false;
  ++loops_;
  for_each_pair(line, [this](const std::string& key, const std::string& value) {
    if (std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; })) {
      values_[key] += std::stoull(value);
    }
  });
  return true;
}

std::uint64_t Statistics::operator[](const std::string& name) const {
  const auto found = values_.find(name);
  if (found != values_.end()) return found->second;
  if (name.starts_with("request.")) return 0;
  throw std::out_of_range("the program does not count " + name);
}

std::uint64_t Statistics::replied() const {
  std::uint64_t sum = 0;
  for (const auto& [name, value] : values_) {
    if (!name.starts_with("request.") || name.ends_with("FORGET") || name.ends_with("INTERRUPT")) {
      continue;
    }
    sum += value;
  }
  return sum;
}

std::string Statistics::text() const {
  std::string text = std::to_string(loops_) + " loops:";
  for (const auto& [name, value] : values_) text += " " + name + "=" + std::to_string(value);
  return text;
}

Mounted::Mounted(MountPlan plan) : plan_(std::move(plan)), log_path_(home_ / "log") {
  make_directories();
  Command command;
  command.arguments = {ourofs_program(), "-f"};
  for (const std::string& option : plan_.options) command.arguments.push_back(option);
  command.arguments.push_back(source());
  command.arguments.push_back(path());
  command.who = plan_.who;
  command.output = log_path_;
  command.before_exec = plan_.before_exec;
  program_ = Process::start(command);
  await_serving();
}

void Mounted::make_directories() {
  const uid_t owner = plan_.who == Who::kPlainUser ? kPlainUid : ::getuid();
  const auto make = [&](const std::filesystem::path& directory) {
    std::filesystem::create_directory(directory);
    if (::chown(directory.c_str(), owner, owner) != 0) {
      throw std::runtime_error("cannot give away " + directory.string());
    }
  };
  if (plan_.source.empty()) make(plan_.source = home_ / "source");
  if (plan_.mountpoint.empty()) make(plan_.mountpoint = home_ / "mount");
  // Beside a source of our own, and within the parent of any other.
  native_ = std::make_unique<TempDir>(plan_.source.parent_path());
  if (::chown(native_->path().c_str(), owner, owner) != 0) {
    throw std::runtime_error("cannot give away " + native_->path().string());
  }
  std::ofstream(log_path_).close();
  std::filesystem::permissions(log_path_, std::filesystem::perms(0666));
}

std::filesystem::path Mounted::native() const {
  return native_->path();
}

void Mounted::await_serving() {
  eventually([this] { return !lines(std::string(kServing)).empty() || !program_->running(); },
             kPatience);
  const auto serving = lines(std::string(kServing));
  if (serving.empty()) {
    kill();
    throw std::runtime_error("ourofs does not serve; it said:\n" + log());
  }
  serving_ = serving.front();
}

Mounted::~Mounted() {
  if (!exit_) end();
  for (const std::string& complaint : complaints()) ADD_FAILURE() << complaint;
}

std::string Mounted::served(const std::string& key) const {
  std::string found;
  for_each_pair(serving_, [&](const std::string& name, const std::string& value) {
    if (name == key) found = value;
  });
  return found;
}

std::vector<std::string> Mounted::lines(const std::string& prefix) const {
  std::vector<std::string> found = split_lines(log());
  std::erase_if(found, [&](const std::string& line) { return !line.starts_with(prefix); });
  return found;
}

Statistics Mounted::statistics() {
  const std::string prefix(kStatistics);
  const std::size_t before = lines(prefix).size();
  const std::size_t loops = std::stoul(served("loops"));
  signal(SIGUSR1);
  eventually([&] { return lines(prefix).size() >= before + loops; }, kPatience);
  Statistics statistics;
  const auto all = lines(prefix);
  for (std::size_t i = before; i < all.size(); ++i) statistics.add(all[i]);
  if (statistics.loops() != loops) complaints_.push_back("statistics of some loops are missing");
  return statistics;
}

Statistics Mounted::final_statistics() const {
  const auto all = lines(std::string(kStatistics));
  const std::size_t loops = std::stoul(served("loops"));
  Statistics statistics;
  for (std::size_t i = all.size() - std::min(loops, all.size()); i < all.size(); ++i) {
    statistics.add(all[i]);
  }
  return statistics;
}

void Mounted::signal(int number) const {
  if (program_ && !exit_) program_->signal(number);
}

std::optional<Exit> Mounted::end(How how, std::chrono::milliseconds limit) {
  if (exit_) return exit_;
  if (how == How::kTerminate) signal(SIGTERM);
  if (how == How::kUmount && is_mountpoint(path())) {
    // Someone may still be leaving.
    Process unmount = Process::run(Who::kRoot, [this] {
      return eventually([this] { return ::umount2(path().c_str(), UMOUNT_NOFOLLOW) == 0; }) ? 0 : 1;
    });
    if (unmount.wait(at_pace(limit)) != kExitOk) complaints_.push_back("it cannot be unmounted");
  }
  exit_ = program_->wait(at_pace(limit));
  if (!exit_) {
    complaints_.push_back("ourofs does not end and was killed; it said:\n" + log());
    kill();
    return std::nullopt;
  }
  if (*exit_ != expected_exit_) {
    complaints_.push_back("ourofs ended with " + exit_->text() + "; it said:\n" + log());
  }
  if (is_mountpoint(path())) complaints_.push_back("the mount is left behind");
  return exit_;
}

void Mounted::kill() {
  if (is_mountpoint(path())) abort_connection(path());
  program_->signal(SIGKILL);
  exit_ = program_->wait(kPatience).value_or(Exit{});
  ::umount2(path().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

std::vector<std::string> Mounted::complaints() const {
  std::vector<std::string> all = complaints_;
  for (const std::string& line : split_lines(log())) {
    const auto begins = [&](std::string_view harmless) { return line.starts_with(harmless); };
    const auto contains = [&](const std::string& part) {
      return line.find(part) != std::string::npos;
    };
    if (std::ranges::any_of(kHarmless, begins)) continue;
    if (!std::ranges::any_of(plan_.expected, contains)) all.push_back("ourofs said: " + line);
  }
  return all;
}

bool is_mountpoint(const std::filesystem::path& path) {
  return find_mount(path).has_value();
}

std::string device_of_mount(const std::filesystem::path& path) {
  const auto mount = find_mount(path);
  return mount ? mount->device : std::string();
}

namespace {

// The control directory of the connection; empty if it has none.
std::filesystem::path control_directory(const std::filesystem::path& mountpoint) {
  const auto mount = find_mount(mountpoint);
  // A disk's number may be the same as that of somebody's connection.
  if (!mount || !mount->device.starts_with("0:")) return {};
  return "/sys/fs/fuse/connections/" + mount->device.substr(2);
}

}  // namespace

void abort_connection(const std::filesystem::path& mountpoint) {
  // While the mount is held by a descriptor, nobody else's can get its number. O_PATH: no request.
  const loop::UniqueFd held(::open(mountpoint.c_str(), O_PATH | O_CLOEXEC));
  const auto control = control_directory(mountpoint);
  if (!control.empty()) std::ofstream(control / "abort") << "1";
}

std::size_t requests_in_flight(const std::filesystem::path& mountpoint) {
  std::size_t count = 0;
  std::ifstream(control_directory(mountpoint) / "waiting") >> count;
  return count;
}

std::string ourofs_program() {
  return OUROFS_PROGRAM;
}

}  // namespace ouro::testing
