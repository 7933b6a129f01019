// The loaders on a kernel of a distribution: GODWIT_TEST_KERNEL is the path of its bzImage.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>

#include "tests/boot/boot_images.h"
#include "vmm/boot/boot_layout.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/kernel.h"

namespace godwit::vmm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

struct Unpacker {
  std::array<unsigned char, 4> magic;
  size_t magic_bytes;
  const char* program;
  // Linux's build appends the unpacked size to all but gzip, which holds it.
  uint64_t trailer;
};
constexpr Unpacker kUnpackers[] = {
    {{0x1f, 0x8b}, 2, "gzip", 0},
    {{0xfd, '7', 'z', 'X'}, 4, "xz", 4},
    {{0x28, 0xb5, 0x2f, 0xfd}, 4, "zstd", 4},
    {{0x02, 0x21, 0x4c, 0x18}, 4, "lz4", 4},
};

const Unpacker* unpacker_for(const Bytes& packed) {
  for (const Unpacker& u : kUnpackers) {
    if (packed.size() > 8 &&
        std::equal(u.magic.begin(), u.magic.begin() + u.magic_bytes, packed.begin(),
                   [](unsigned char a, std::byte b) { return std::byte{a} == b; })) {
      return &u;
    }
  }
  return nullptr;
}

class TemporaryFile {
 public:
  TemporaryFile() : fd_(::mkostemp(path_.data(), O_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("mkostemp");
  }
  ~TemporaryFile() {
    ::close(fd_);
    ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n <= 0) throw std::runtime_error("write");
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }

 private:
  std::string path_ = testing::TempDir() + "godwit-kernel-XXXXXX";
  int fd_;
};

// False when the program is not there or does not like the data.
bool unpack(const char* program, const TemporaryFile& packed, const TemporaryFile& to) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::lseek(packed.fd(), 0, SEEK_SET);
    ::dup2(packed.fd(), STDIN_FILENO);
    ::dup2(to.fd(), STDOUT_FILENO);
    ::execlp(program, program, "-dc", nullptr);
    ::_exit(127);
  }
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

class RealKernel : public testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("GODWIT_TEST_KERNEL");  // NOLINT(concurrency-mt-unsafe)
    if (path == nullptr || *path == '\0') {
      GTEST_SKIP() << "GODWIT_TEST_KERNEL (the path of a Linux bzImage) is not set";
    }
    kernel_.emplace(Image::open(path).value());
  }
  std::optional<Image> kernel_;
};

TEST_F(RealKernel, BzImageLoadsWithAnInitrd) {
  const auto memory = guest_of(256_MiB);
  const Bytes initrd_bytes = pattern((3_MiB).value + 17, 1);
  const Image initrd = Image::of(initrd_bytes, "initrd");
  const BzImageHeader header = parse_bzimage(*kernel_).value();
  const auto entry =
      load_kernel(*memory, {.kernel = *kernel_, .initrd = &initrd, .command_line = "quiet"});
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(entry->protocol, BootProtocol::kLinux64);
  EXPECT_EQ(entry->entry.value - 0x200, header.preferred_address);
  EXPECT_GE(header.command_line_limit, 2047u);
  EXPECT_GT(header.init_size, header.payload_size);
  EXPECT_EQ(read_u32(*memory, kZeroPage.value + 0x218),
            (256_MiB).value - ((3_MiB).value + kPageSize));
  // A 64-bit entry point begins with cld (0xfc), as it has since the protocol exists.
  EXPECT_EQ(read_guest(*memory, entry->entry, 1)[0], std::byte{0xfc});
}

TEST_F(RealKernel, BzImageThatDoesNotFitIsAnError) {
  const auto result = load_kernel(*guest_of(16_MiB), {.kernel = *kernel_});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("does not fit in 16 MiB"), std::string::npos);
}

TEST_F(RealKernel, VmlinuxInsideLoadsThroughItsPvhNote) {
  const BzImageHeader header = parse_bzimage(*kernel_).value();
  const Bytes head = kernel_->read(0, 0x260).value();
  const uint64_t offset =
      header.payload_offset + ByteReader(std::span(head).subspan(0x248), "").u32();
  const uint64_t size = ByteReader(std::span(head).subspan(0x24c), "").u32();
  const Bytes packed = kernel_->read(offset, std::min(size, kernel_->size())).value();
  const Unpacker* unpacker = unpacker_for(packed);
  if (unpacker == nullptr) GTEST_SKIP() << "the kernel is packed in a way unknown here";
  TemporaryFile from;
  const TemporaryFile to;
  from.write(std::span(packed).first(packed.size() - unpacker->trailer));
  if (!unpack(unpacker->program, from, to)) {
    GTEST_SKIP() << unpacker->program << " -dc is missing or cannot unpack this kernel";
  }
  const Image vmlinux = Image::open(to.path()).value();
  const auto memory = guest_of(512_MiB);
  const auto entry = load_kernel(*memory, {.kernel = vmlinux, .command_line = "quiet"});
  ASSERT_TRUE(entry) << entry.error().message;
  EXPECT_EQ(entry->protocol, BootProtocol::kPvh);
  EXPECT_GE(entry->entry, Gpa{0x1000000});
  EXPECT_EQ(read_guest(*memory, entry->entry, 1)[0], std::byte{0xfc});  // cld
}

}  // namespace
}  // namespace godwit::vmm
