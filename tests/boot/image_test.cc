#include "vmm/boot/image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/boot/boot_images.h"
#include "vmm/boot/kernel.h"

namespace godwit::vmm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

class ImageFile : public testing::Test {
 protected:
  ImageFile() {
    std::string name = (std::filesystem::temp_directory_path() / "godwit-boot-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
  }
  ~ImageFile() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& name, const Bytes& bytes) {
    const auto path = directory_ / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path.string();
  }

  std::filesystem::path directory_;
};

TEST_F(ImageFile, KernelAndInitrdLoadFromFiles) {
  const Image kernel = Image::open(write("kernel", small_elf(0x3000).build())).value();
  const Bytes initrd_bytes = pattern(12345, 2);
  const Image initrd = Image::open(write("initrd", initrd_bytes)).value();
  const auto memory = guest_of(16_MiB);
  memory->record_host_writes(true);
  ASSERT_TRUE(load_kernel(*memory, {.kernel = kernel, .initrd = &initrd}));
  EXPECT_EQ(read_guest(*memory, Gpa{0x100000}, 0x3000), pattern(0x3000, 1));
  const Gpa start{read_u64(*memory, 0x6040)};
  EXPECT_EQ(read_guest(*memory, start, initrd_bytes.size()), initrd_bytes);
  DirtyBitmap dirty(memory->page_count());
  memory->drain_host_writes(dirty);
  EXPECT_TRUE(dirty.test(PageIndex{0x102}));
  EXPECT_TRUE(dirty.test(PageIndex{start.value >> kPageShift}));
}

TEST_F(ImageFile, MissingFilesAndOtherThingsAreErrorsWithTheirPath) {
  const auto missing = Image::open((directory_ / "none").string());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kNotFound);
  EXPECT_NE(missing.error().message.find("none"), std::string::npos);
  const auto directory = Image::open(directory_.string());
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().message.find("is a directory"), std::string::npos);
  const std::string fifo = (directory_ / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto pipe = Image::open(fifo);
  ASSERT_FALSE(pipe);
  EXPECT_NE(pipe.error().message.find("pipe"), std::string::npos);
}

TEST_F(ImageFile, AFileThatShrinksMeanwhileIsAnError) {
  const std::string path = write("kernel", small_elf(0x3000).build());
  const Image kernel = Image::open(path).value();
  std::filesystem::resize_file(path, 0x1000);
  const auto memory = guest_of(16_MiB);
  const auto result = load_kernel(*memory, {.kernel = kernel});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kIo);
  EXPECT_NE(result.error().message.find("became shorter"), std::string::npos);
}

TEST_F(ImageFile, AnEmptyInitrdIsAnError) {
  const Image kernel = Image::open(write("kernel", small_elf().build())).value();
  const Image initrd = Image::open(write("initrd", {})).value();
  const auto result = load_kernel(*guest_of(16_MiB), {.kernel = kernel, .initrd = &initrd});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("is empty"), std::string::npos);
}

}  // namespace
}  // namespace godwit::vmm
