#include "tests/support/loop_image.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/process.hpp"

namespace ouro::testing {
namespace {

std::vector<std::string> mkfs_command(const std::string& type, const std::string& image,
                                      const std::vector<std::string>& options) {
  std::vector<std::string> command{"mkfs." + type, "-q", type == "ext4" ? "-F" : "-f"};
  if (type == "ext4") command.insert(command.end(), {"-E", "lazy_itable_init=1"});
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(image);
  return command;
}

}  // namespace

std::variant<std::unique_ptr<LoopImage>, LoopImage::Missing> LoopImage::create(
    const std::string& type, std::uintmax_t bytes, const std::vector<std::string>& mkfs_options) {
  if (::geteuid() != 0) return Missing{"needs root, to mount a " + type};
  std::unique_ptr<LoopImage> image(new LoopImage);
  if (auto missing = image->make(type, bytes, mkfs_options)) return *std::move(missing);
  return image;
}

std::optional<LoopImage::Missing> LoopImage::make(const std::string& type, std::uintmax_t bytes,
                                                  const std::vector<std::string>& mkfs_options) {
  std::filesystem::create_directory(path());
  if (type == "tmpfs") {
    const std::string size = "size=" + std::to_string(bytes);
    if (::mount("tmpfs", path().c_str(), "tmpfs", 0, size.c_str()) != 0) {
      return Missing{std::string("mount -t tmpfs: ") + std::strerror(errno)};
    }
    mounted_ = true;
    return std::nullopt;
  }
  const std::string image = home_ / "image";
  std::ofstream(image).close();
  std::filesystem::resize_file(image, bytes);
  const Output made = run_command({.arguments = mkfs_command(type, image, mkfs_options)});
  if (made.exit.code == 127) return Missing{"there is no mkfs." + type};
  if (made.exit != kExitOk) return Missing{"mkfs." + type + ": " + made.text};
  // Detached with the unmount: mount(8) sets autoclear on the devices it takes.
  const Output done = run_command({.arguments = {"mount", "-o", "loop", image, path()}});
  if (done.exit != kExitOk) return Missing{"mount -o loop: " + done.text};
  mounted_ = true;
  return std::nullopt;
}

LoopImage::~LoopImage() {
  // The kernel may be slow to let go of what a killed mount held.
  const auto unmount = [this] { return ::umount2(path().c_str(), UMOUNT_NOFOLLOW) == 0; };
  if (mounted_ && !eventually(unmount)) ADD_FAILURE() << "cannot unmount " << path();
}

}  // namespace ouro::testing
